"""Privacy of the clients' updates: attacks on them, differential privacy, decoys and secure
aggregation."""
