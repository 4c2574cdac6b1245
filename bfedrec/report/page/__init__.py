"""A run or a sweep as one HTML file. `bfedrec.cli` may import it."""
