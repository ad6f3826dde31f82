"""Jails: one contract for running a program apart from the rest, and the ways to keep it."""
