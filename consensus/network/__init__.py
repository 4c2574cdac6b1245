"""The simulated network: clock, topology and the transport of messages."""
