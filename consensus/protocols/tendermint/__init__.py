"""`protocol: tendermint`: Algorithm 1 of "The latest gossip on BFT consensus"; README.md argues."""
