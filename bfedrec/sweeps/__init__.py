"""Many runs: grids of options and seeds, the processes that make them, records, and searches for
options."""
