"""Algorithm 1: what one client and a cohort of clients learn in a round, in compiled closed
form."""
