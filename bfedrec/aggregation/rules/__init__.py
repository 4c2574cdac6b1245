"""The aggregation rules that come with the package, found by `bfedrec.aggregation.registry`."""
