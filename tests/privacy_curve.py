"""Accuracy, and the sign attack, of a config without its ledger, one line of JSON.

    python -m tests.privacy_curve CONFIG [KEY=VALUE...]

The attack (`tests/helpers/sign_attack.py`) reads what the clients of the last three rounds send, as
a server decodes it. ``auc``: by the direction's sign, a client's training items against all others
of the catalogue; ``auc_touched``: against those others with a number but 0, as negatives that were
drawn have. ``auc_graded``: by the direction's weights, not their sign alone; ``precision``: by
these, in as many guesses as the client has items. ``taste``: by the scores of all items where the
direction is taken for that of p_u; ``popularity``: by popularity alone.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from bfedrec.config.load import load
from bfedrec.data.prepare import prepare
from bfedrec.federation.protection import spent
from bfedrec.federation.unledgered import learner_alone, rounds_of, seeded
from tests.helpers.sign_attack import auc, direction, precision

ATTACKED = 3
"""Rounds, the last of the run, whose updates are attacked."""


def main(words: list[str]) -> None:
    """Play the config of a command line, and print its figures."""
    config = load(words[0], words[1:])
    data = prepare(config.data)
    learner = learner_alone(config, data, threads=1)
    beacon, found = seeded(config.seed), []
    popularity = np.bincount(data.indices, minlength=data.items).astype(np.float64)
    heights = range(1, config.rounds + 1)
    for height, _ in zip(heights, rounds_of(learner), strict=True):
        if config.rounds - ATTACKED <= height < config.rounds:
            found += attacked(learner, height + 1, beacon(height + 1), popularity)
    figures = {name: float(np.mean([each[name] for each in found])) for name in found[0]}
    scoring = learner.scoring(1)
    for split in ("validation", "test"):
        scores = scoring.evaluate(split, config.evaluation.k, full=False).means()
        figures |= {f"{split}_{name}": value for name, value in scores.items()}
    figures |= spent(config, data.users, config.rounds)
    told = {name: round(value, 4) for name, value in figures.items()}
    print(json.dumps({"config": words, "updates": len(found), **told}), flush=True)


def attacked(learner, height, beacon, popularity):  # type: ignore[no-untyped-def]
    """The attack's figures on each update of a round that is yet to be played."""
    clients = learner.clients(height)
    P, task = learner.P[clients], learner.task(height, beacon)
    _, uploads = learner.train(height, beacon, clients, P, task, None)
    found = []
    for upload in uploads:
        payload = learner.payload(height, upload, beacon)
        A = learner.model.exchange.decode(payload, beacon).A
        indptr, indices = learner.data.indptr, learner.data.indices
        own = np.unique(indices[indptr[upload.client] : indptr[upload.client + 1]])
        others = np.setdiff1d(np.arange(learner.data.items), own)
        touched = others[A[:, others].any(axis=0)]
        found_in = direction(A[:, : learner.data.items])
        signs = np.sign(found_in.weights)
        taste = learner.Q[: learner.data.items] @ (task.B @ found_in.vector)
        found.append(
            {
                "auc": auc(signs, own, others),
                "auc_touched": auc(signs, own, touched) if len(touched) else 0.5,
                "auc_graded": auc(found_in.weights, own, others),
                "precision": precision(found_in.weights, own),
                "taste": auc(taste, own, others),
                "popularity": auc(popularity, own, others),
            }
        )
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
