"""Decoys: items that a client trains its updates on beside its own, or instead of some of them."""
