"""The invariants that the torture harness checks, independently of the code under test."""
