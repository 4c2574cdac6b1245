"""The torture harness: seeded scenarios of malicious servers and faults, in which servers go from
height to height without a barrier while every invariant of the ledger is checked."""
