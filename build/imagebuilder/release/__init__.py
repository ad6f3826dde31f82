"""A FreeBSD release on its way in: its sets fetched, pinned, checked and unpacked into entries."""
