"""Privacy of the clients: attacks that infer from updates, and defences against them. May be
imported by learning and what stands above it, and imports none of these."""
