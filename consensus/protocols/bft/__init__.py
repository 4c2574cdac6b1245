"""`protocol: bft`: two voting phases with locks; PROTOCOL.md argues why it is safe and live."""
