"""Rollouts: how the instances of an app come from one version to the next, and back. Pure."""
