"""`protocol: paper`: Algorithm 2 as it is written, weaknesses included."""
