"""The merchants' registry on an Ethereum chain: contract, binding, and a chain in one process.

Needs the extra `merchants`. May be imported by the merchants' system; imports `consensus.encoding`
alone.
"""
