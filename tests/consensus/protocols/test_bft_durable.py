"""One server under `bft` after a crash: it keeps what it promised."""

from __future__ import annotations

from tests.helpers.bft_rig import (
    BYSTANDER,
    FORGE,
    LEADER,
    MEMBER,
    MEMBERS,
    ORDER,
    Bench,
)
from tests.helpers.bft_scene import (
    CANDIDATE,
    TWIN,
    closed,
)

# -- after a crash ---------------------------------------------------------------------------------


def crashed(bench: Bench, lost_tail: int = 0) -> Bench:
    """The bench once its server is up again, with nothing said since."""
    bench.server.active = False
    bench.host.sent.clear()
    bench.host.timers.clear()
    bench.server.restart(lost_tail, bench.server.chain.height)
    return bench


def test_a_restarted_server_votes_for_nothing_else() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE)
    assert bench.phases() == ["soft"]
    crashed(bench).ready().hear("candidate", TWIN)
    assert bench.said("vote") == []
    crashed(bench).ready().hear("candidate", CANDIDATE).votes(CANDIDATE).wake("settle")
    assert bench.phases() == ["cert"], "but goes on with what it voted for"
    crashed(bench).ready().hear("candidate", CANDIDATE).votes(CANDIDATE)
    assert bench.said("vote") == []


def test_a_restarted_server_stays_out_of_the_view_that_it_left_and_says_so_again() -> None:
    bench = Bench().ready().wake("view")
    crashed(bench).ready()
    assert bench.fired("view") == [(2_000_000, (0, 0))]
    bench.hear("candidate", CANDIDATE).votes(CANDIDATE)
    assert bench.said("vote") == []
    assert bench.said("timeout") == [FORGE.timeout(MEMBER)]


def test_a_restarted_server_says_again_that_it_gave_the_attempt_up() -> None:
    bench = Bench(BYSTANDER).ready().wake("view").wake("recovery")
    crashed(bench).wake("view").wake("recovery")
    assert bench.said("timeout") == [FORGE.timeout(BYSTANDER, everyone=True)]


def test_a_restarted_leader_proposes_nothing_else() -> None:
    bench = Bench(LEADER).ready()
    assert len(bench.said("candidate")) == 1
    bench.host.now += 1_000
    crashed(bench).ready()
    assert bench.said("candidate") == []
    assert bench.server.evidence == {}


def test_a_restarted_server_keeps_its_lock_and_the_locked_block() -> None:
    """It may be the only one left that has them."""
    bench = Bench(ORDER[1]).ready().hear("candidate", CANDIDATE)
    others = [server for server in MEMBERS if server != ORDER[1]]
    bench.votes(CANDIDATE, others[:4])
    held = bench.part.durable.promises.lock
    assert held is not None
    crashed(bench)
    assert bench.part.durable.promises.lock == held
    assert bench.server.pool.digests() == tuple(sorted(CANDIDATE.updates))
    bench.hear("closure", closed((0, 0), held))
    [again] = bench.said("candidate")
    assert again == FORGE.again(CANDIDATE, (0, 1), closed((0, 0), held))


def test_a_restarted_server_keeps_the_block_that_it_cast_a_soft_vote_for() -> None:
    """Its vote may be a part of a lock that it learns of after the crash."""
    bench = Bench(ORDER[1]).ready().hear("candidate", CANDIDATE)
    assert bench.phases() == ["soft"]
    assert bench.part.durable.promises.lock is None
    crashed(bench)
    assert bench.server.pool.digests() == tuple(sorted(CANDIDATE.updates))
    held = FORGE.lock(CANDIDATE)
    bench.hear("closure", closed((0, 0), held))
    [again] = bench.said("candidate")
    assert again == FORGE.again(CANDIDATE, (0, 1), closed((0, 0), held))


def test_what_a_crash_takes_is_what_was_in_memory() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE, TWIN)
    assert bench.server.evidence
    crashed(bench)
    assert bench.server.evidence == {}
    assert bench.part.tickets_held() == (MEMBER,)
    assert bench.part.state.candidates == {}
    assert bench.said("ticket") == [FORGE.ticket(MEMBER)], "the very same draw"
    assert len(crashed(Bench().ready()).server.pool) == 0, "it has voted for none of them"


def test_a_crash_takes_no_block_that_something_was_said_on() -> None:
    """Promises and what they build on are on the disk first."""
    bench = Bench().hear("block", FORGE.block())
    bench.server.enter_height()
    after = FORGE.after(FORGE.block())
    bench.hear("update", *after.updates()).hear("candidate", after.candidate()).wake("tickets")
    assert bench.part.durable.promises.soft == (0, 0)
    crashed(bench, lost_tail=5)
    assert bench.server.chain.height == 1
    other = Bench().hear("block", FORGE.block())
    other.server.active = False
    other.server.restart(5, 1)
    assert other.server.chain.height == 0, "nothing was promised at height 2 yet"
    assert other.server.catching_up


def test_a_server_whose_block_was_lost_keeps_to_what_it_promised_there() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE).votes(CANDIDATE)
    promises = bench.part.durable.promises
    bench.hear("block", FORGE.block())
    bench.server.active = False
    bench.server.restart(1, 0)
    assert (bench.server.chain.height, bench.server.catching_up) == (0, False)
    assert bench.part.durable.promises == promises
    bench.host.sent.clear()
    bench.ready().hear("candidate", TWIN).votes(TWIN)
    assert bench.said("vote") == []


# -- promises that cannot be read ------------------------------------------------------------------


def test_a_server_that_lost_its_promises_says_nothing_at_that_height() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE)
    bench.part.lose_promises()
    crashed(bench).ready().hear("candidate", CANDIDATE, TWIN).votes(CANDIDATE).votes(TWIN)
    bench.wake("view").wake("recovery")
    assert bench.server.catching_up
    assert bench.said("vote") == bench.said("timeout") == bench.said("candidate") == []
    crashed(bench).ready().hear("candidate", CANDIDATE).votes(CANDIDATE)
    assert bench.said("vote") == [], "nor after another crash"


def test_a_server_that_lost_its_promises_goes_on_with_the_next_height() -> None:
    bench = Bench().ready().hear("candidate", CANDIDATE)
    bench.part.lose_promises()
    crashed(bench).hear("block", FORGE.block())
    bench.server.enter_height()
    after = FORGE.after(FORGE.block())
    bench.hear("update", *after.updates()).hear("candidate", after.candidate()).wake("tickets")
    assert [vote.height for vote in bench.said("vote")] == [2]


def test_a_server_that_lost_its_promises_says_nothing_at_an_earlier_height_either() -> None:
    """It comes back at height 2 without promises, and another crash takes it back to height 1,
    where it has proposed a block."""
    bench = Bench(LEADER).ready().hear("block", FORGE.block())
    assert len(bench.said("candidate")) == 1
    bench.server.enter_height()
    bench.part.lose_promises()
    crashed(bench)
    assert (bench.server.height, bench.server.catching_up) == (2, True)
    bench.server.active = False
    bench.host.now += 1_000
    bench.server.restart(1, 0)
    bench.host.sent.clear()
    bench.ready()
    assert (bench.server.height, bench.server.catching_up) == (1, True)
    assert bench.said("candidate") == []


def test_what_was_written_before_lost_promises_is_on_the_disk() -> None:
    bench = Bench().hear("block", FORGE.block())
    bench.server.enter_height()
    after = FORGE.after(FORGE.block())
    bench.hear("update", *after.updates()).hear("candidate", after.candidate()).wake("tickets")
    bench.part.lose_promises()
    crashed(bench, lost_tail=5)
    assert bench.server.chain.height == 1, "a crash takes no block that something was promised on"
    assert bench.server.catching_up


def test_a_server_that_goes_down_as_it_promises_has_said_nothing_yet() -> None:
    bench = Bench().ready()
    struck = []

    def strike() -> None:
        struck.append(bench.part.durable.promises.soft)
        bench.server.active = False

    bench.part.strike = strike
    bench.hear("candidate", CANDIDATE)
    assert struck == [(0, 0)], "it is written down"
    assert bench.said("vote") == []
    bench.part.strike = None
    crashed(bench).ready().hear("candidate", TWIN)
    assert bench.said("vote") == [], "and binds it"
