"""The protocols by which servers agree on a block."""
