"""Both systems side by side: the committee ledger and the contract, with the same merchants."""
