"""The rules by which edge servers turn the updates of a round into one aggregate, and their
registry."""
