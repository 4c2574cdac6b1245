"""Sums of groups, as under secure aggregation, without a ledger, as one line of JSON: how many do
not fit their lanes, how much they tell of their members, and how well the model recommends.

    python -m tests.group_sums CONFIG [KEY=VALUE...]

Under `aggregation.secure` the cohort is dealt every round into groups of `aggregation.group`, and
sums beyond their lanes are counted (``overflow``, a share of all ``sums``). In `ATTACKED` rounds
groups of each of `SIZES` are attacked by their mean: by the sign along its first singular direction
(``sign``), and by the scores that the direction, taken for p_u, gives (``taste``). ``members``: the
area under the curve, each member compared with others of like popularity (``auc_matched``,
docs/privacy.md), the mean over the groups' members. ``outsiders``: the same scores against as many
clients of the next round. What both have is what clients have in common; what members alone have is
what the sum tells of them. ``all_members``: members compared with all others, as ``auc``. Of the
last round are the scores of the held-out items (``test_hr@10``, ...).
"""

from __future__ import annotations

import json
import sys

import numpy as np

from bfedrec.config.load import load
from bfedrec.data.prepare import prepare
from bfedrec.federation.learner import Learner
from bfedrec.federation.unledgered import learner_alone, seeded
from bfedrec.privacy.assessment import FIGURES, Truth, figures_of
from bfedrec.privacy.observation import main_direction
from bfedrec.runs.privacy import truth_of

SIZES = (1, 5, 15, 30, 60, 120, 240)
"""Members of the groups that are attacked, as far as a cohort has so many; 1 for updates in the
clear."""
ATTACKED = 6
"""Rounds whose groups are attacked, evenly spread over the run."""
AUC, MATCHED = FIGURES.index("auc"), FIGURES.index("auc_matched")


def main(words: list[str]) -> None:
    """Play the config of a command line, and print its figures."""
    config = load(words[0], words[1:])
    data = prepare(config.data)
    learner, beacon = learner_alone(config, data, threads=1), seeded(config.seed)
    secure, truth = learner.model.secure, truth_of(config, data)[0]
    attacked = set(np.linspace(2, config.rounds - 1, ATTACKED).astype(int).tolist())
    deal = np.random.default_rng(config.seed)
    sums, beyond = 0, 0
    sizes = [size for size in SIZES if size <= config.clients.per_round]
    found: dict[int, list[np.ndarray]] = {size: [] for size in sizes}
    for height in range(1, config.rounds + 1):
        sent: list[bytes] = []
        Q, B = learner.Q, learner.model.basis(beacon(height))
        learner.play(height, beacon(height), lambda _, payloads, sent=sent: sent.extend(payloads))
        if secure is None and height not in attacked:
            continue
        clients, exchange = learner.clients(height), learner.model.exchange_at(height)
        A = np.stack([exchange.decode(each, beacon(height)).A for each in sent])
        if secure is not None:
            step, half = np.float32(secure.step(exchange)), 1 << (secure.scheme.bits - 1)
            order = deal.permutation(len(clients))
            for group in np.array_split(order, -(-len(order) // config.aggregation.group)):
                levels = np.rint(A[group].sum(axis=0, dtype=np.float64) / step)
                sums, beyond = sums + levels.size, beyond + int((np.abs(levels) >= half).sum())
        if height in attacked:
            for size in sizes:
                found[size].append(of_groups(learner, height, (A, clients, Q, B), truth, size))
    told = {
        size: dict(zip(NAMES, np.concatenate(rows).mean(axis=0).round(4).tolist(), strict=True))
        for size, rows in found.items()
    }
    shares = {"overflow": beyond / sums, "sums": sums} if sums else {}
    scoring, scores = learner.scoring(1), {}
    for split in ("validation", "test"):
        means = scoring.evaluate(split, config.evaluation.k, full=False).means()
        scores |= {f"{split}_{name}": round(value, 4) for name, value in means.items()}
    print(json.dumps({"config": words, **shares, "groups": told, **scores}), flush=True)


NAMES = (
    "sign_all_members",
    "sign_members",
    "sign_outsiders",
    "taste_all_members",
    "taste_members",
    "taste_outsiders",
)


def of_groups(
    learner: Learner,
    height: int,
    told: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    truth: Truth,
    size: int,
) -> np.ndarray:
    """The figures `NAMES` of each group of ``size`` in a round, float64[groups, 6]; ``told``: the
    updates A (float32[m, r, N]), clients, Q and B."""
    A, clients, Q, B = told
    others = np.setdiff1d(learner.clients(height + 1), clients)
    rows = []
    for first in range(0, len(clients) - size + 1, size):
        members = clients[first : first + size]
        direction, along = main_direction(A[first : first + size].mean(axis=0)[None])
        taste = np.asarray(direction @ B.T @ Q.T, np.float32)
        row: list[float] = []
        for scores in (along, taste):
            inside = figures_of(np.repeat(scores, size, axis=0), None, members, truth)
            beside = others[:size] if size > 1 else others[first % len(others)][None]
            outside = figures_of(np.repeat(scores, len(beside), axis=0), None, beside, truth)
            row += [
                float(np.nanmean(inside[:, AUC])),
                float(np.nanmean(inside[:, MATCHED])),
                float(np.nanmean(outside[:, MATCHED])),
            ]
        rows.append(row)
    return np.array(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
