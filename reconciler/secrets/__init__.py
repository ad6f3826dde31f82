"""Secrets of apps: named in Git, decrypted in memory, placed in memory, shown nowhere."""
