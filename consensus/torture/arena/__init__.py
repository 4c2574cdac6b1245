"""Scenarios of the torture harness: how they are drawn and played."""
