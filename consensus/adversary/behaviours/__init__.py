"""The behaviours of malicious servers, found by `consensus.adversary.composed`."""
