"""Membership after SWIM: who belongs to the realm, and who is alive.

Pure: facts in, requests out. See A. Das, I. Gupta, A. Motivala, "SWIM" (2002) and docs/protocol.md.
It knows no wire format and no links: the node translates.
"""
