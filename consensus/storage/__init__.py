"""Stores of blocks and content: in memory, SQLite, an IPFS node, CAR archives."""
