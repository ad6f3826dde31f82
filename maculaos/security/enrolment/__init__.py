"""Joining and renewing over the network: the authority's listener, and who asks it."""
