"""Where to look for the mesh: ways to find addresses, merged, and when to dial; the node dials."""
