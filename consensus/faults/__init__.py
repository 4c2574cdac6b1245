"""Faults of the network and of servers: their kinds, their options and their schedule."""
