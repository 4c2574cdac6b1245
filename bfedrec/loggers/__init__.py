"""Loggers: experiment trackers that hold the same numbers as a run's metrics.jsonl.
`bfedrec.config` and `bfedrec.runs` may import it."""
