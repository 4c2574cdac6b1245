"""Mutation campaign: small changes of the ledger and of `bft`, and what finds them.

`generating` makes the mutants with the operators of `cosmic-ray`, `judging` plays torture and the
tests against one of them, `campaign` samples, records and counts (`make mutants`)."""
