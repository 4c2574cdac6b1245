"""Facts about finished and running runs, read without disturbing them, for pages, `bfedrec show`
and `bfedrec report`. `bfedrec.web` and `bfedrec.cli` may import it."""
