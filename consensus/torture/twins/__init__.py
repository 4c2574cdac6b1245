"""Systematic enumeration of small scenarios with twins, played on the protocol's own code."""
