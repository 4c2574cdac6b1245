"""Pages on loopback or behind a proxy: the merchants' portal. `bfedrec.cli` may import it."""
