"""Leaks of updates, and protection against them. It imports neither runs nor federation."""
