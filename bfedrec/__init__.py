"""Federated recommendation on an edge-server blockchain (BFedRec), simulated."""
