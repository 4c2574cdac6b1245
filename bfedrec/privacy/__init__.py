"""Privacy of the clients: attacks that infer from updates, and what protects them (differential
privacy, decoys, secure aggregation).

May be imported by learning and what stands above it, and imports none of these.
"""
