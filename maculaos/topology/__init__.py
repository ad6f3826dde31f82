"""What the graph of links looks like from one node. A value; it changes no link."""
