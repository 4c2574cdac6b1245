"""Pages: the run explorer, and the merchants' portal, on loopback or behind a proxy.
`bfedrec.cli` may import it."""
