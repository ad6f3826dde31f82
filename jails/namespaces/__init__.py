"""Jails as Linux namespaces: bubblewrap, network namespaces, nftables and control groups."""
