"""What shells need of the machine, each thing a small seam with its fake beside it."""
