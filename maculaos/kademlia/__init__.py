"""XOR distance between node ids: the order in which a node lists its peers."""
