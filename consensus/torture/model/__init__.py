"""Specifications of `bft` by themselves, of which all states up to a bound are explored."""
