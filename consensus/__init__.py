"""The edge-server blockchain: records, sortition, voting, chain. Moves opaque payloads."""
