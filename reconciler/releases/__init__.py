"""Releases of apps: archives fetched, checked, unpacked, and switched to by one link."""
