"""Trying an image: QEMU on the build host, its console watched, its power cut at will.

Nothing here knows what is inside an image; ``tests/vm`` does.
"""
