"""Methods that see all data in one place, scored on the same held-out items."""
