"""Rules of the protocol that can be switched off, and what stands in for them."""
