"""The picture of one round, with the numbers of `experiments/ml-1m.yaml` as the code reads them."""

from __future__ import annotations

from bfedrec.config.load import load
from bfedrec.data.catalogue import load_catalogue
from bfedrec.report.message_sizes import Envelope
from consensus.protocols.registry import protocol_named
from docs.generator.sources import ROOT
from docs.generator.svg import arrow, box, picture, words

EXPERIMENT = "experiments/ml-1m.yaml"
WIDTH, HEIGHT = 974, 424
CARD, TALL, TOP = 214, 216, 62
LEFT = (20, 260, 500, 740)
"""The left edges of the four cards."""


def round_picture() -> str:
    """The picture as SVG."""
    config = load(ROOT / EXPERIMENT, [])
    counts = load_catalogue()[config.data.dataset].published
    clients, servers = config.clients.per_round, config.servers.count
    seats, rank = config.committee.size, config.model.rank
    size = Envelope(config, counts.items, 100).up(rank)
    phases = " and ".join(protocol_named(config.protocol).phases)
    cards = (
        ("a", f"{clients} of {counts.users:,} clients", (
            "train on private data;", "factors p_u stay at home",
            f"A_u: {rank} × {counts.items:,} numbers,", f"signed: {size / 1000:.1f} kB each")),
        ("b", f"{servers} edge servers", (
            "check every signature", "and payload, gossip them;",
            "a VRF draws, by stake, who", "proposes and who votes")),
        ("d", f"committee of {seats}", (
            "the aggregator proposes", "A = Σ (N_u / N) A_u;", "members recompute it, and",
            f"vote twice ({phases})")),
        ("c", "chain and store", (
            "more than two thirds:", "a block with all votes, the", "draws of the next round,",
            "and A's IPFS address")),
    )  # fmt: skip
    parts = [words(20, 34, "One round", "head", "start")]
    for place, (hue, head, lines) in enumerate(cards):
        x = LEFT[place]
        parts += [box(x, TOP, CARD, TALL, hue), words(x + CARD / 2, TOP + 30, head, "head")]
        parts += [words(x + CARD / 2, TOP + 64 + 23 * row, line) for row, line in enumerate(lines)]
    parts += _small(cards, clients, servers, seats)
    for place in range(3):
        x = LEFT[place] + CARD
        parts.append(arrow(f"M{x + 4} {TOP + 100}H{LEFT[place + 1] - 5}"))
    bottom, middle = TOP + TALL, LEFT[3] + CARD / 2
    start = LEFT[0] + CARD / 2
    parts += [
        arrow(f"M{middle:g} {bottom + 4}V{bottom + 62}H{start:g}V{bottom + 5}"),
        words(WIDTH / 2, bottom + 54, "the next clients fetch A and move the item factors:"),
        words(WIDTH / 2, bottom + 84, "Q ← Q + (B A)ᵀ, B drawn from the block's beacon", "head"),
        words(WIDTH / 2, bottom + 128,
              "while less than a third of a committee lies, no height has two blocks; whoever"
              " has the chain can audit all of it", "faint"),
    ]  # fmt: skip
    told = (
        f"{clients} clients train and send signed low-rank updates to {servers} edge servers, "
        f"which gossip them. A committee of {seats} recomputes the proposed aggregate and votes. "
        "With more than two thirds of the votes a block joins the chain, and clients fetch the "
        "aggregate for the next round."
    )
    return picture("round", WIDTH, HEIGHT, "One round of BFedRec", told, parts)


def _small(cards: object, clients: int, servers: int, seats: int) -> list[str]:
    """Rows of dots at the foot of the first three cards, one for each; blocks in the fourth."""
    found = []
    for place, (count, hue) in enumerate(((clients, "a"), (servers, "b"), (seats, "d"))):
        across = 20 if count > 30 else 15 if count > 20 else 10
        for number in range(count):
            row, column = divmod(number, across)
            x = LEFT[place] + CARD / 2 + (column - (across - 1) / 2) * 9
            y = TOP + TALL - 46 + 11 * row
            found.append(f'<circle class="box {hue}" cx="{x:g}" cy="{y:g}" r="3"/>')
    for number in range(4):
        x, y = LEFT[3] + 24 + 40 * number, TOP + TALL - 50
        found.append(box(x, y, 26, 22, "c"))
        if number:
            found.append(arrow(f"M{x} {y + 11}H{x - 13}", "thin"))
    return found
