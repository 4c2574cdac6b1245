"""Malicious clients: attacks that poison what is learnt, and violations of the protocol's
rules."""
