"""Where to look for the mesh: addresses to dial, and when. Pure; the node dials."""
