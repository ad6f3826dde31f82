"""What nodes say to each other: message numbers, frames, message bodies and application values.

Pure: bytes in, values out. See docs/protocol.md.
"""
