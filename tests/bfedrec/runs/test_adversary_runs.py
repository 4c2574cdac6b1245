"""Runs with an adversary that looks on: accounts, notes, and the same bytes whatever interrupts."""

from __future__ import annotations

import json
from pathlib import Path

from bfedrec.cli.audit import audit_command
from bfedrec.runs.adversary import AdversaryTotals
from bfedrec.runs.timelines import read_timelines
from bfedrec.runs.totals import Totals
from tests.bfedrec.runs.test_simulation import (
    killed_and_resumed,
    play,
    standings,
)

WORDS = (
    "crypto=modelled",
    "adversary.corruption={strategy: members, behaviour: [late_votes, spam], at_once: 2, delay: "
    "3, hold: 2}",
    "adversary.delays={strategy: halves, bound_seconds: 0.2}",
)


def test_the_summary_counts_what_the_timeline_tells(tmp_path: Path) -> None:
    summary = play(tmp_path / "run", *WORDS)
    lines = list(read_timelines(tmp_path / "run"))
    kinds = [event.kind for line in lines for event in line.events]
    assert summary["corruptions"] == kinds.count("corrupted") > 4
    assert summary["releases"] == kinds.count("released") > 2
    assert summary["corrupted_at_once"] == 2
    assert summary["corrupted_stake_share"] == 2 / 7
    assert 12 <= summary["corrupted_server_heights"] <= 24
    assert summary["attempts_lost"] == summary["attempts"] - summary["blocks"]
    assert summary["held_messages"] > 100
    assert 0 < summary["held_seconds"] <= 0.2 * summary["held_messages"]
    assert 0.2 <= summary["greatest_delay"] < 0.3
    assert audit_command(tmp_path / "run") == 0
    assert "corruptions" not in play(tmp_path / "plain", "crypto=modelled", "rounds=1")


def test_sigkill_while_a_corruption_is_in_progress(tmp_path: Path) -> None:
    """Killed whenever a server is corrupted or about to be: the same head, figures and state."""
    whole = tmp_path / "whole"
    play(whole, *WORDS)
    stood = standings(whole)
    amid = [at for at, each in enumerate(stood, 1) if each["corrupted"]["chosen"]]
    assert amid
    kills = {height: 50 * height for height in sorted({amid[0], amid[-1]} - {12})}
    assert standings(killed_and_resumed(whole, tmp_path, WORDS, kills)) == stood


def test_a_committee_beyond_the_premise_is_told_once(tmp_path: Path) -> None:
    strong = (
        "crypto=modelled",
        "rounds=4",
        "adversary.corruption={strategy: members, behaviour: [spam], at_once: 3, hold: 1}",
    )
    summary = play(tmp_path / "run", *strong)
    assert summary["blocked_committees"] == summary["committees"]
    log = (tmp_path / "run" / "log.txt").read_text()
    assert log.count("beyond the premise") == 1
    assert "height 1: malicious servers have 3 of 5 in the committee of attempt 1" in log
    assert "3 servers at once are enough to block a committee of 5 (2 seats)" in log


def test_totals_of_an_adversary_are_read_back() -> None:
    totals = Totals(optional={AdversaryTotals: AdversaryTotals(3, 2, 2, 7, 0.25, 4, 10, 1.5, 0.2)})
    assert Totals.from_node(json.loads(json.dumps(totals.to_node()))) == totals
    assert Totals.from_node(Totals().to_node()).part(AdversaryTotals) is None
