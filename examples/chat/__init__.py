"""A chat for the terminal over the mesh: rooms, who is there, private words, and what was said.

Part of the checkout, not of the installed packages: see `examples/chat/README.md`. There is no
server and nothing is stored: what was said in a room is known by those who are in it, and they
tell it to who comes later.
"""
