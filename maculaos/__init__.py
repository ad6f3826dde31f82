"""The Macula mesh daemon: one node of a QUIC mesh, its cores, its shells and its command line."""

__version__ = "0.1.0"
