"""Jails of FreeBSD: what to say to its tools, what they answer, and a model of such a machine."""
