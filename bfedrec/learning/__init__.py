"""Algorithm 1: the training of one client, or of a cohort of clients in compiled closed form, in a
round."""
