"""Links between nodes: QUIC over one UDP port, with mutual TLS, in both directions."""
