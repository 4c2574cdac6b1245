"""A merchant's part in a round: what it keeps, publishes, collects, recomputes and attests."""
