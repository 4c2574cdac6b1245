"""The published figures, one to a file."""
