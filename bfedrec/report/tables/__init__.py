"""The published tables, one to a file."""
