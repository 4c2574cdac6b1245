"""Scenarios of the torture harness: drawing them from seeds, and playing them."""
