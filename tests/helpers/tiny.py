"""The config of a run that takes about a second."""

TINY = """\
data: {dataset: synthetic, synthetic: {users: 40, items: 220, interactions_per_user: 8}}
model: {dimension: 4, rank: 1}
training: {local_epochs: 1}
clients: {per_round: 4}
servers: {count: 4, regions: 2, links_per_server: 2}
committee: {size: 4}
"""
