"""The experiments of RQ3, Byzantine fault tolerance (paper, IV.D), which several figures share."""

from __future__ import annotations

from pathlib import Path

from bfedrec.report.artefact import Experiment

GROUP = "rq3"
"""The name that `bfedrec make` knows the figures of RQ3 by."""

FIG3 = Experiment(
    Path("experiments/fig3.yaml"), ("protocol=bft,paper", "servers.malicious=0,1/3"), "0"
)
COMMITTEES = Experiment(
    Path("experiments/committees.yaml"),
    ("committee.size=4,7,10,15,20,25,30", "servers.malicious=0,0.1,0.2,0.3,1/3,0.4,0.5"),
    "0",
    compact=True,
)
THIRD = Experiment(
    Path("experiments/third.yaml"),
    ("committee.size=20,30", "servers.malicious=0,6,8,9,10,11,12,13"),
    "0-2",
    compact=True,
)
RECOVERY = Experiment(
    Path("experiments/recovery.yaml"), ("@experiments/faults",), "0-4", compact=True
)
