"""The run explorer: the pages of `bfedrec serve`. `bfedrec.cli` may import it."""
