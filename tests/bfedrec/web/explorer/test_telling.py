"""Events, attempts and faults in sentences."""

from __future__ import annotations

import pytest

from bfedrec.web.explorer.telling import (
    SHAPES,
    called,
    failures,
    fault,
    named,
    outcome,
    reason,
    sentence,
    shape,
)
from consensus.simulation.layout import FaultFacts, Malice, Placed
from consensus.simulation.timeline import ENDS, KINDS, OUTCOMES, Attempt, Event, Named
from tests.helpers.timelines import TIMELINE

CID = "bafyreicekuiz5xyq7gygyhyrlwu5nbzmezoay54b3cktgsmno65jdtwwsi"


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (
            Event(0, "proposed", 3, 0, 1, "", CID),
            "Server 3 proposes block bafyrei…twwsi in attempt 0, step 1.",
        ),
        (
            Event(0, "voted", 3, 1, 0, "soft", CID),
            "Server 3 votes for block bafyrei…twwsi (soft phase) in attempt 1, step 0.",
        ),
        (
            Event(0, "voted", 3, 1, 0, "cert"),
            "Server 3 votes for no block (cert phase) in attempt 1, step 0.",
        ),
        (
            Event(0, "voted", 3, 1, 0, "reject", CID),
            "Server 3 votes against block bafyrei…twwsi in attempt 1, step 0.",
        ),
        (
            Event(0, "voted", 3, 1, 0, "approve", CID),
            "Server 3 votes for block bafyrei…twwsi in attempt 1, step 0.",
        ),
        (
            Event(0, "timed_out", 3, 1, 2),
            "Server 3 has waited long enough: it gives up step 2 of attempt 1.",
        ),
        (
            Event(0, "timed_out", 3, 1, 2, "all"),
            "Server 3 has waited long enough: it gives up the whole of attempt 1, "
            "together with all servers.",
        ),
        (Event(0, "crashed", 3, what="churn"), "Server 3 goes down (fault: churn)."),
        (
            Event(0, "cut", what="partition"),
            "The network is cut: from now on some servers do not hear others (partition).",
        ),
        (
            Event(0, "evidence", 3, 1, 2, "vote", about=7),
            "Server 3 holds proof that server 7 contradicted itself (vote) in attempt 1, step 2.",
        ),
    ],
)
def test_events_are_told(event: Event, told: str) -> None:
    assert sentence(event) == told


def test_every_kind_has_a_sentence_and_a_shape_of_its_own() -> None:
    events = [Event(0, kind, 1) for kind in KINDS]
    assert len({sentence(each) for each in events}) == len(KINDS)
    shapes = [shape(each) for each in events if each.kind not in ("cut", "joined")]
    shapes += [shape(Event(0, "voted", 1, what=what)) for what in ("cert", "reject")]
    assert sorted(shapes) == sorted(SHAPES)


def test_every_end_has_a_reason() -> None:
    told = {reason(Attempt(0, end, 0, 1, 1, {}, 0, 7, 20)) for end in ENDS}
    assert len(told) == len(ENDS)
    assert "Blocked: malicious members had 7 of 20 of its weight" in " ".join(told)
    assert "a third or more of its weight" in reason(Attempt(0, "blocked", 0, 1, 1, {}, 0))
    assert set(OUTCOMES) == {"decided", "stalled", "forked", "open"}
    assert outcome(TIMELINE) == "Height 7: decided."


def test_malicious_servers_are_called_so_at_their_heights() -> None:
    server = Placed(4, 0, 1, 0.5, 0.5, (Malice("silent", 3, 5),))
    assert called(server, 4, 2) == "Server 4"
    assert called(server, 4, 3) == "Server 4 (malicious: silent)"
    assert called(None, 9, 3) == "Server 9"


def test_servers_are_named_up_to_a_number() -> None:
    assert named(Named()) == "nobody"
    assert named(Named.of([3, 1])) == "1, 3"
    assert named(Named.of(range(5)), 3) == "0, 1, 2 and 2 more"
    assert named(Named(2000, (1,))) == "1 and 1,999 more"
    assert named(Named(9, ())) == "9"


def test_faults_say_whom_and_when() -> None:
    groups = (Named.of([0, 1]), Named.of([2]))
    cut = FaultFacts("partition", 1_000_000, 9_000_000, groups=groups)
    assert fault(cut, 4) == "partition: 0, 1 | 2 | the rest, from 1.0 s until 9.0 s"
    assert fault(cut, 3) == "partition: 0, 1 | 2, from 1.0 s until 9.0 s"
    loss = FaultFacts("loss", 0, None, Named.of(range(4)), options="rate 0.1")
    assert fault(loss, 4) == "loss (rate 0.1): all servers, from 0.0 s to the end"
    assert fault(loss, 5) == "loss (rate 0.1): servers 0, 1, 2, 3, from 0.0 s to the end"


def test_attempts_that_failed_alike_are_told_together() -> None:
    ends = ("timed out", "rejected", "rejected", "rejected", "no candidate", "decided")
    attempts = [Attempt(at, end, None, 1, 1, {}, 0) for at, end in enumerate(ends)]
    assert failures(attempts) == [
        ("Attempt 0", "Time ran out before enough like votes had come together."),
        ("Attempts 1 to 3", "A third or more of the votes on a proposed block were against it."),
        ("Attempt 4", "Nobody's proposal was seen."),
    ]
