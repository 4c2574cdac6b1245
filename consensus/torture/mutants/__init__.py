"""Rules of the protocol that can be switched off, and the functions that stand in meanwhile."""
