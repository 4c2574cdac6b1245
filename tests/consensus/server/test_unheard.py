"""What a server says of messages that it need not hear, and how it comes by them."""

from __future__ import annotations

from typing import Any

import pytest

from consensus.adversary.behaviour import BEHAVIOURS, Behaviour, Circle
from consensus.adversary.composed import Composed
from consensus.adversary.when import When
from consensus.server.hooks import Hooks
from consensus.server.unheard import (
    ANY_NUMBER,
    IGNORED,
    UPDATES,
    Credit,
    Fit,
    NoInbox,
)
from tests.helpers import paper_scene
from tests.helpers.bft_rig import FORGE, LEADER, MEMBER, Bench
from tests.helpers.fake_inbox import FakeInbox
from tests.helpers.paper_rig import Bench as PaperBench

FIRST, *MORE = FORGE.updates()


def filled(*arrived: Any, **more: Any) -> tuple[Bench, FakeInbox]:
    """A server with updates in its inbox, each gossiped by server 5."""
    bench, inbox = Bench(start=False, **more), FakeInbox()
    bench.server.hear_through(inbox)
    bench.server.enter_height()
    inbox.arrived = [(update, 5) for update in arrived]
    return bench, inbox


# -- what is fit ----------------------------------------------------------------------------------


def test_an_update_is_fit_once_it_was_found_so() -> None:
    bench = Bench()
    assert bench.server.fit("update", FIRST) is None
    bench.updates([FIRST])
    size = len(FIRST.payload)
    expected = Fit(UPDATES, FIRST.record.parent, FIRST.record.client, 1, "check_update", size)
    assert bench.server.fit("update", FIRST) == expected
    assert bench.host.charged[-1] == ("check_update", size, 1), "what it costs to hear it"


def test_an_update_that_was_found_unfit_is_not_fit() -> None:
    bench, wrong = Bench(), FORGE.update(0, samples=10_000)
    bench.updates([wrong])
    assert bench.server.pool.rejected == {"sample count": 1}
    assert bench.server.fit("update", wrong) is None


def test_the_kinds_of_messages_that_are_fit_are_listed() -> None:
    bench = Bench().updates([FIRST])
    bench.tickets([LEADER])
    fit = {
        kind
        for kind, body in (
            ("update", FIRST),
            ("ticket", FORGE.ticket(LEADER)),
            ("vote", FORGE.vote(FORGE.candidate(), LEADER)),
            ("candidate", FORGE.candidate()),
            ("block", FORGE.block()),
            ("lock", FORGE.lock(FORGE.candidate())),
        )
        if bench.server.fit(kind, body) is not None
    }
    assert fit == {"update", "ticket", "vote"}


# -- credits --------------------------------------------------------------------------------------


def test_a_server_that_rests_between_heights_takes_in_nothing_but_what_is_too_late() -> None:
    bench = Bench().hear("block", FORGE.block())
    assert {credit.weight for credit in bench.server.credits()} == {IGNORED}
    assert UPDATES not in {credit.lane for credit in bench.server.credits()}


def beside(names: list[str]) -> Composed:
    """A server that inverts votes, of a circle with one of these behaviours, from height 9 on."""
    circle = Circle()
    Composed(names, When(9), circle)
    return Composed(["invert_votes"], circle=circle)


@pytest.mark.parametrize(
    "behaviour",
    [Behaviour, lambda: Composed(["gaussian", "abstain"]), lambda: beside(["hide_quorum"])],
)
def test_a_malicious_server_hears_everything(behaviour: Any) -> None:
    """Others of its circle may act in its name, and change what it waits for."""
    assert list(Bench().server.credits()) != []
    assert list(Bench(behaviour=behaviour()).server.credits()) == []


@pytest.mark.parametrize(
    "behaviour", [lambda: Composed(["gaussian"]), lambda: beside(["gaussian"])]
)
def test_a_malicious_server_waits_as_others_do_if_its_circle_changes_decisions_alone(
    behaviour: Any,
) -> None:
    assert list(Bench(behaviour=behaviour()).server.credits()) == list(Bench().server.credits())


def test_the_behaviours_that_change_decisions_alone_are_told_of_nothing_else() -> None:
    quiet = {name for name in BEHAVIOURS if not Composed([name]).hears_all}
    assert quiet == {"gaussian", "invert_votes"}
    hooks = {name for name, hook in vars(Hooks).items() if callable(hook) and name[0] != "_"}
    for name in quiet:
        own = {hook for hook in hooks if hook in vars(BEHAVIOURS[name])}
        assert own <= {"contents", "verdict"}, name


def test_under_paper_updates_are_heard_where_a_committee_waits_for_them() -> None:
    forge = paper_scene.FORGE

    def credits_of(bench: PaperBench) -> list[Credit]:
        found = list(bench.server.credits())
        assert [credit.ground for credit in found] == [forge.head.cid]
        assert [credit.lane for credit in found] == [UPDATES]
        return found

    bench = PaperBench(paper_scene.LOSERS[0], paper_scene.TOY)
    assert credits_of(bench)[0].weight == ANY_NUMBER, "no committee yet"
    bench.hear("ticket", *forge.seats())
    for count in range(paper_scene.CLIENTS):
        assert credits_of(bench)[0].weight == paper_scene.CLIENTS - 1 - count
        bench.hear("update", forge.updates()[count])
    assert credits_of(bench)[0].weight == ANY_NUMBER, "it competes to propose"


def test_under_paper_updates_that_a_candidate_lacks_are_heard() -> None:
    forge = paper_scene.FORGE
    bench = PaperBench(paper_scene.MEMBER, paper_scene.TOY)
    bench.hear("ticket", *forge.seats()).hear("candidate", paper_scene.FIRST)
    assert next(iter(bench.server.credits())).weight == 0
    bench.hear("update", *forge.updates())
    assert bench.host.all("vote")
    assert next(iter(bench.server.credits())).weight == ANY_NUMBER


# -- taking in ------------------------------------------------------------------------------------


def test_what_is_in_the_inbox_is_in_the_pool() -> None:
    bench, inbox = filled(FIRST)
    assert len(bench.server.pool) == 1
    assert inbox.waiting() == 1, "it was not looked at"
    assert bench.server.pool.ordered() == [FIRST]
    assert inbox.waiting() == 0


def test_arrivals_count_for_what_is_missing() -> None:
    bench, inbox = filled(FIRST)
    assert bench.server.updates_missing() == 2
    bench.updates(MORE[:1])
    assert bench.server.updates_missing() == 1
    inbox.arrived = [(MORE[1], 4)]
    assert bench.server.updates_missing() == 0
    bench.wake("tickets")
    assert bench.fired("view"), "they are sufficient"


def test_one_is_missing_once_it_is_late() -> None:
    bench, inbox = filled()
    bench.wake("updates")
    assert bench.server.updates_missing() == 1
    inbox.arrived = [(FIRST, 5)]
    assert bench.server.updates_missing() == 0


def test_what_came_unheard_is_passed_on_once_for_every_other_origin() -> None:
    """It went along the tree of its origin by itself."""
    bench, _ = filled(FIRST)
    assert bench.server.passes_on("update", FIRST, 5) is None
    assert bench.server.passes_on("update", FIRST, 4) == ("update", FIRST, (5,))
    assert bench.server.passes_on("update", FIRST, 4) is None
    assert bench.server.passes_on("update", MORE[0], 4) is None, "that is not here"


def test_what_came_unheard_may_be_passed_on_after_the_block() -> None:
    bench, _ = filled(FIRST)
    bench.hear("block", FORGE.block())
    assert bench.server.passes_on("update", FIRST, 4) == ("update", FIRST, (5,))


def test_a_copy_of_what_came_unheard_is_no_news() -> None:
    bench, inbox = filled(FIRST)
    assert not bench.server.receive("update", FIRST, 4, gossiped=True)
    assert inbox.waiting() == 0
    assert bench.server.refused == {}
    assert not bench.server.pool.rejected
    assert inbox.noted == [("ticket", MEMBER)], "its client's next update is heard anyway"


def test_a_new_height_clears_the_inbox() -> None:
    bench, inbox = filled(FIRST)
    cleared = inbox.cleared
    bench.hear("block", FORGE.block())
    bench.server.enter_height()
    assert inbox.cleared == cleared + 1
    assert len(bench.server.pool) == 0


def test_a_server_without_an_inbox_hears_of_everything() -> None:
    inbox = NoInbox()
    inbox.note("anything")
    inbox.clear()
    assert inbox.waiting() == 0
    assert inbox.updates() == ((), ())
    assert isinstance(Bench().server.inbox, NoInbox)


def test_nothing_but_updates_is_taken_in_under_paper() -> None:
    with pytest.raises(NotImplementedError):
        PaperBench(0, paper_scene.TOY).server.take_in([(1, None, None, 0.0)])
