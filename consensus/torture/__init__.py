"""The torture harness: seeded scenarios of malicious servers and faults, run without a break
between heights while every invariant of the ledger is watched."""
