"""What lies above the base system: packages of a FreeBSD repository, Python wheels, and the SBOM.

It reads repositories on any host and never runs a package's script. Fetching over the network is
left to whoever gives a ``Fetcher``, and laying files into a tree to the file system's room.
"""
