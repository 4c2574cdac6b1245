"""Algorithm 3: the clients and the ledger on one simulated clock."""
