"""The rules of the ledger: sortition, committees, updates and the validity of blocks."""
