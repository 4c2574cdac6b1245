"""Secure aggregation: masked updates of which a group's sum alone is opened (Bonawitz et al., CCS
2017). It knows integers and clients, and neither models nor servers."""
