"""One edge server: what it checks, what it sends, and what it asks of its host."""
