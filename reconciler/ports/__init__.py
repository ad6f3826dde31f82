"""Ports of apps: what a spec says of them, and which one each instance has for itself."""
