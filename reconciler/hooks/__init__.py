"""Hooks of apps: commands inside their jails at moments of a program's life, and what ran when."""
