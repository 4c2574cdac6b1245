"""Attacks by servers: that each acts, with keys of its own, and that `bft` goes on regardless.

Worlds of ten servers, three of them malicious, all of them with a seat; then the paper's thirty
servers with ten malicious ones and twenty seats, where a third or more of a committee is
malicious every other time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from consensus.adversary.behaviour import BEHAVIOURS, Behaviour
from consensus.adversary.groups import acts, assign
from consensus.ledger.committee import InvalidTicket, check_ticket
from consensus.ledger.evidence import holds
from consensus.records.evidence import Evidence
from consensus.server.hooks import AT_ONCE
from consensus.simulation.results import Forked, HeightResult
from tests.helpers.rules import chain_from
from tests.helpers.toy import Toy

BAD = 3
EQUIVOCATORS = {"equivocate_candidates", "equivocate_votes", "spam", "split_closures"}

WORLDS: dict[str, dict[str, Any]] = {
    "hide_quorum": {"committee_size": 4},
    "split_closures": {"committee_size": 4, "max_step": 2},
}
"""Worlds of ten servers in which an attack has the seats that it needs."""

REASONS: dict[str, set[str]] = {
    "beg": {"asked too much", "content asked too much"},
    "false_locks": {"lock"},
    "forge_tickets": {"ticket proof"},
    "lie_status": {"asked too much", "block"},
    "phantom_votes": {
        "timeout by a stranger",
        "timeout signature",
        "vote by a stranger",
        "vote signature",
    },
    "replay_tickets": {"ticket proof"},
    "spam": {
        "candidate for another attempt",
        "candidate: not its turn",
        "second vote",
        "vote for another attempt",
    },
    "stale": {"vote signature"},
    "tamper": {"payload digest", "sample count", "signature"},
}
"""Why honest servers turn away what each attack brings, where every server has a seat; of the
attacks that do not stand here nothing is turned away: what they say is valid, or nothing."""

IN_ITS_TURN = {
    "spam": {"candidate header", "candidate: no justification"},
    "equivocate_candidates": {"asked too much"},
    "hide_quorum": {"asked too much"},
}
"""Further reasons, for what an attack says in its own turn only, and for what honest servers ask
that lack the block of a certificate then: more than a server sends that is no helper."""


class Said:
    """What a server sends, told to a list before it leaves."""

    def __init__(self, host: Any, index: int, log: list[tuple[int, str, Any, Any, float]]) -> None:
        self._host, self._index, self._log = host, index, log

    def gossip(self, kind: Any, body: Any, delay: float = 0.0) -> None:
        self._log.append((self._index, kind, body, None, delay))
        self._host.gossip(kind, body, delay)

    def send(self, to: Collection[int], kind: Any, body: Any, delay: float = 0.0) -> None:
        self._log.append((self._index, kind, body, tuple(to), delay))
        self._host.send(to, kind, body, delay)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)


class Signed:
    """A server's signing key, which remembers what it signed."""

    def __init__(self, signer: Any) -> None:
        self._signer = signer
        self.public = signer.public
        self.made: set[bytes] = set()

    def sign(self, digest: bytes) -> bytes:
        signature = self._signer.sign(digest)
        self.made.add(signature)
        return signature


@dataclass
class Run:
    """A world with malicious servers, what they said and what the heights came to."""

    toy: Toy
    behaviours: dict[int, Behaviour]
    results: list[HeightResult] = field(default_factory=list)
    log: list[tuple[int, str, Any, Any, float]] = field(default_factory=list)

    @property
    def acted(self) -> Counter[str]:
        return acts(self.behaviours.values())

    @property
    def refused(self) -> Counter[str]:
        return sum((result.refused for result in self.results), Counter())

    @property
    def evidence(self) -> list[Evidence]:
        return [found for result in self.results for found in result.evidence]

    def said(self, kind: str, by: Iterable[int] | None = None) -> list[tuple[int, Any, Any, float]]:
        """(who, what, to whom, delay) of a kind of message, of the malicious servers if none
        other are meant."""
        who = set(self.behaviours if by is None else by)
        return [(i, body, to, at) for i, k, body, to, at in self.log if k == kind and i in who]


def begin(
    names: str | Sequence[str],
    servers: int = 10,
    malicious: Sequence[int] = range(BAD),
    seed: int = 0,
    **parameters: Any,
) -> Run:
    names = names.split("+") if isinstance(names, str) else list(names)
    nodes = [{"behaviour": names, "servers": list(malicious)}]
    return begin_groups(nodes, servers, seed, **parameters)


def begin_groups(nodes: Sequence[Any], servers: int, seed: int, **parameters: Any) -> Run:
    generator = np.random.default_rng(seed)
    regions = [index % 2 for index in range(servers)]  # as the toy's
    behaviours = assign(nodes, servers, [1] * servers, regions, generator)
    values: dict[str, Any] = {"clients": 4, "crypto": "modelled"}
    run = Run(Toy(servers, seed=seed, malicious=behaviours, **(values | parameters)), behaviours)
    for server in run.toy.world.servers:
        server.host = Said(server.host, server.index, run.log)
        server.signer = Signed(server.signer)
    return run


def play(run: Run, heights: int, patience: float = 1000.0) -> Run:
    """Play on, and hold every height to safety, and evidence to what it may say."""
    for _ in range(heights):
        result = run.toy.play(patience)
        run.results.append(result)
        assert not result.captured
        exact = run.toy.application.aggregate(
            [update.payload for update in result.updates],
            [update.record.samples for update in result.updates],
        )
        assert result.contents.aggregate == exact
        for found in result.evidence:
            assert holds(run.toy.genesis, found)
            assert found.server in run.behaviours, "evidence against an honest server"
    return run


def check_chains(run: Run) -> None:
    """Every honest server has the same chain, and every proof in it holds."""
    cids = [result.block.cid for result in run.results]
    for server in run.toy.world.servers:
        if server.behaviour is None:
            assert [block.cid for block in server.chain.blocks] == cids
            again = chain_from(run.toy.genesis)
            for block in server.chain.blocks:
                again.append(block)


def check_signatures(run: Run) -> None:
    """What is signed in a server's name, and valid, that server signed; and who draws a ticket
    is its holder: nobody speaks or draws for anybody else."""
    world, genesis = run.toy.world, run.toy.genesis
    verify, keys = genesis.suite.verify, [server.signing_key for server in genesis.servers]
    heads = world.servers[-1].chain.heads
    tickets: dict[bytes, int] = {}
    for who, kind, body, _, _ in run.log:
        if kind == "ticket":
            if body.server < len(keys) and 2 <= body.height <= len(heads) + 1:
                try:
                    check_ticket(genesis, heads[body.height - 2].beacon, body)
                except InvalidTicket:
                    continue
                owner = tickets.setdefault(body.proof, who)
                assert owner == body.server, f"{who} drew for {body.server}"
            continue
        claims: list[tuple[int, bytes, bytes]] = []
        if kind in ("vote", "timeout"):
            claims = [(body.server, body.signed, body.signature)]
        elif kind == "candidate":
            claims = [
                (body.header.aggregator, body.header.signed, body.signature),
                (body.proposer, body.proposal_signed, body.proposal),
            ]
        for name, signed, signature in claims:
            if name < len(keys) and verify(keys[name], signed, signature):
                assert signature in world.servers[name].signer.made, f"{who} signed for {name}"  # type: ignore[attr-defined]


# -- every attack ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(BEHAVIOURS))
def test_heights_go_on_and_what_is_wrong_is_turned_away(name: str) -> None:
    run = play(begin(name, **WORLDS.get(name, {})), 6)
    check_chains(run)
    check_signatures(run)
    assert run.acted[name] > 0
    reasons = REASONS.get(name, set())
    assert reasons <= set(run.refused) <= reasons | IN_ITS_TURN.get(name, set())
    for result in run.results:
        assert result.block.header.count == 4, "no honest update is left out"
        assert len(result.block.tickets) >= 7, "no honest ticket is left out"
        assert result.ended - result.began < 20.0
    assert {found.server for found in run.evidence} <= (
        set(run.behaviours) if name in EQUIVOCATORS else set()
    )


@pytest.mark.parametrize("name", sorted(BEHAVIOURS))
def test_the_same_seed_gives_the_same_run(name: str) -> None:
    def trace() -> list[Any]:
        run = play(begin(name, servers=7, malicious=(1, 4), seed=3), 3)
        told = [(who, kind, to, at) for who, kind, _, to, at in run.log]
        return [[result.block.encoded for result in run.results], told, run.acted, run.refused]

    assert trace() == trace()


@pytest.mark.parametrize("name", sorted(BEHAVIOURS))
def test_a_run_can_be_resumed_between_any_two_heights(name: str) -> None:
    """Nothing that an attack does depends on what it remembers of earlier heights."""
    whole = play(begin(name, servers=7, malicious=(1, 4)), 4)
    first = play(begin(name, servers=7, malicious=(1, 4)), 2)
    rest = begin(name, servers=7, malicious=(1, 4))
    world, held = rest.toy.world, first.toy.world.providers
    world.env.now = first.toy.world.env.now
    world.head = first.toy.world.head
    world._agreed += first.toy.world._agreed
    for server, other in zip(world.servers, first.toy.world.servers, strict=True):
        server.chain = chain_from(server.genesis, other.chain.blocks, other.chain.heads)
    world.restore(first.toy.world.standing(), lambda link: held._data[link][0])
    play(rest, 2)
    assert [result.block.encoded for result in rest.results] == [
        result.block.encoded for result in whole.results[2:]
    ]
    assert rest.refused == sum((result.refused for result in whole.results[2:]), Counter())


@pytest.mark.parametrize("seed", range(24))
def test_any_mixture_is_survived(seed: int) -> None:
    check_mixture(seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_any_mixture_is_survived_in_many_worlds(block: int) -> None:
    for seed in range(100 + 100 * block, 200 + 100 * block):
        check_mixture(seed)


def check_mixture(seed: int) -> None:
    """Less than a third of any servers malicious, each in up to four ways at once."""
    generator = np.random.default_rng(seed)
    servers = int(generator.integers(4, 14))
    bad = int(generator.integers(1, (servers - 1) // 3 + 1))
    nodes = [
        {
            "behaviour": generator.choice(
                sorted(BEHAVIOURS), int(generator.integers(1, 5)), replace=False
            ).tolist(),
            "servers": [int(server)],
            "from": int(generator.integers(1, 3)),
            "until": int(generator.integers(3, 6)),
        }
        for server in generator.permutation(servers)[:bad]
    ]
    check_chains(play(begin_groups(nodes, servers, seed), 5))


# -- a third of thirty -----------------------------------------------------------------------------

TWO_FACED = "equivocate_candidates+equivocate_votes"
THIRTY = ("abstain", "gaussian+invert_votes", TWO_FACED, f"{TWO_FACED}+false_locks+late_block")


def check_thirty(names: str, heights: int, seed: int = 0) -> Run:
    run = begin_groups(
        [{"behaviour": names.split("+"), "share": "1/3"}], 30, seed, clients=3, committee_size=20
    )
    play(run, heights, patience=3000.0)
    check_chains(run)
    for name in names.split("+"):
        assert run.acted[name] > 0
    return run


@pytest.mark.parametrize("names", THIRTY)
def test_ten_of_thirty_delay_but_neither_capture_nor_fork_twenty_seats(names: str) -> None:
    run = check_thirty(names, 8)
    if names in ("abstain", "gaussian+invert_votes"):
        assert any(result.block.certificate.attempt for result in run.results), "none was blocked"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("names", sorted({*BEHAVIOURS, *THIRTY, f"{TWO_FACED}+late_votes"}))
def test_thirty_heights_of_thirty_servers(names: str, seed: int) -> None:
    check_thirty(names, 30, seed)


# -- what each does --------------------------------------------------------------------------------


def test_the_silent_say_nothing_and_give_nothing() -> None:
    run = play(begin("silent"), 3)
    assert not [entry for entry in run.log if entry[0] in run.behaviours]
    world = run.toy.world
    assert not any(world.network._relays[index] for index in run.behaviours)


def test_who_abstains_sends_its_ticket_and_no_vote() -> None:
    run = play(begin("abstain"), 4)
    assert not run.said("vote")
    assert not run.said("timeout")
    assert not run.said("candidate")
    assert {who for who, *_ in run.said("ticket")} == set(run.behaviours)


def test_late_votes_come_around_and_beyond_the_end_of_a_view() -> None:
    run = play(begin("late_votes"), 6)
    delays = [delay for _, _, _, delay in run.said("vote")]
    assert len(delays) > 20
    assert 0.5 <= min(delays) < 1.0
    assert 3.0 < max(delays) <= 4.0
    assert all(delay == 0.0 for kind in ("ticket", "update") for *_, delay in run.said(kind))


def test_two_candidates_go_to_two_halves_when_the_circle_knows() -> None:
    run = play(begin("equivocate_candidates"), 6)
    turns: dict[tuple[int, int, Any], list[tuple[bytes, set[int], float]]] = {}
    for who, body, to, delay in run.said("candidate"):
        if body.proposer == who:
            key = (who, body.header.height, body.view)
            turns.setdefault(key, []).append((body.header.cid, set(to), delay))
    assert turns
    for (who, *_), [
        (told, allies, early),
        (one, first, at),
        (other, second, later),
    ] in turns.items():
        assert told == one != other
        assert allies == set(range(BAD)) - {who}
        assert not first & second
        assert first | second == set(range(BAD, 10))
        assert abs(len(first) - len(second)) <= 1
        assert early < min(at, later)
    named = {(found.height, found.server) for found in run.evidence}
    assert named == {(height, who) for who, height, _ in turns}, "each is found out, nobody else"
    assert all(found.phase == "proposal" for found in run.evidence)


def forks(settle_us: int, heights: int, seeds: Iterable[int]) -> list[tuple[int, int]]:
    """(seed, height) of every fork that twelve two-faced servers of thirty bring about."""
    found = []
    for seed in seeds:
        run = begin(TWO_FACED, 30, range(12), seed, clients=3, settle_us=settle_us)
        try:
            play(run, heights)
        except Forked:
            found.append((seed, run.toy.world.head.height + 1))
    return found


def test_only_time_to_settle_keeps_two_fifths_of_two_faced_members_from_forking() -> None:
    assert forks(0, 12, (0,)), "the attack does not work: what withstands it shows nothing"
    assert not forks(500_000, 12, (0,))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_time_to_settle_withstands_two_fifths_of_two_faced_members(seed: int) -> None:
    assert not forks(500_000, 30, (seed,))


def test_only_equivocators_are_named() -> None:
    """Two-faced leaders and their allies next to servers that do other evil."""
    run = begin_groups(
        [
            {"behaviour": TWO_FACED.split("+"), "servers": [0, 1]},
            {
                "behaviour": ["forge_tickets", "late_votes", "tamper", "phantom_votes"],
                "servers": [2],
            },
        ],
        10,
        0,
    )
    play(run, 16)
    leaders = {who for who, body, _, _ in run.said("candidate") if body.proposer == who}
    assert {found.server for found in run.evidence} == leaders - {2} == {0, 1}


def test_votes_for_two_blocks_go_to_two_halves() -> None:
    run = play(begin(TWO_FACED), 8)
    votes: dict[tuple[Any, ...], dict[bytes, set[int]]] = {}
    for who, body, to, _ in run.said("vote"):
        if body.server == who and to is not None:
            slot = (who, body.height, body.attempt, body.step, body.phase)
            votes.setdefault(slot, {}).setdefault(body.block, set()).update(to)
    honest = set(range(BAD, 10))
    split = [list(blocks.values()) for blocks in votes.values() if len(blocks) == 2]
    assert len(split) > 20
    for one, other in split:
        assert not one & other & honest
    assert any(one | other >= honest for one, other in split)
    assert {key[-1] for key, blocks in votes.items() if len(blocks) == 2} == {"soft", "cert"}
    # For both of a two-faced leader's blocks votes come in both phases.
    proposed = {
        body.header.cid for who, body, _, _ in run.said("candidate") if body.proposer == who
    }
    assert len({block for slot, blocks in votes.items() for block in blocks} & proposed) >= 2


def test_phantoms_without_a_seat_are_turned_away() -> None:
    run = play(begin("phantom_votes", committee_size=7), 4)
    seatless = [who for who, body, _, _ in run.said("vote") if body.server == who]
    assert seatless
    assert run.refused["vote without a seat"] > 0
    assert run.refused["timeout without a seat"] > 0


def test_forgers_try_all_three_kinds() -> None:
    run = play(begin("forge_tickets"), 3)
    world = run.toy.world
    mine = {who: body for who, body, _, _ in run.said("ticket") if body.server == who}
    names = Counter(body.server == who for who, body, _, _ in run.said("ticket"))
    assert names[False] > 0
    assert mine
    gammas = {body.proof[:32] for _, body, _, _ in run.said("ticket", range(BAD, 10))}
    copied = [b for who, b, _, _ in run.said("ticket") if b.server == who]
    assert any(ticket.proof[:32] in gammas for ticket in copied), "a copied Gamma"
    for block in world.servers[-1].chain.blocks:
        assert len(block.tickets) == 10, "the forgers' own honest ones are recorded"


def test_replayed_tickets_are_of_earlier_heights() -> None:
    run = play(begin("replay_tickets"), 4)
    recorded = {t.proof: t.height for result in run.results for t in result.block.tickets}
    as_they_were = as_if_new = 0
    for _, body, _, _ in run.said("ticket"):
        if body.proof in recorded:
            as_they_were += body.height == recorded[body.proof]
            as_if_new += body.height > recorded[body.proof]
    assert as_they_were > 10
    assert as_if_new > 10


def test_grinders_gain_nothing_but_lost_turns() -> None:
    """No block lacks a ticket, whatever proofs were shown; the beacon alone can be passed over."""
    run = play(begin("grind", committee_size=7), 40)
    for what in ("another proof", "left out tickets", "withheld its beacon"):
        assert run.acted[f"grind: {what}"] > 0, what
    assert {len(result.block.tickets) for result in run.results} == {10}
    assert any(result.block.header.aggregator in run.behaviours for result in run.results)
    proofs: dict[tuple[int, int], set[bytes]] = {}
    for who, body, _, _ in run.said("ticket"):
        if body.server == who:
            proofs.setdefault((who, body.height), set()).add(body.proof)
    assert all(len(found) > 1 for found in proofs.values())
    assert all(len({proof[:32] for proof in found}) == 1 for found in proofs.values())


@pytest.mark.parametrize("crypto", ["real", "modelled"])
def test_one_draw_has_many_proofs(crypto: str) -> None:
    from consensus.adversary.behaviours.draws import another_proof

    toy = Toy(servers=1, crypto=crypto)
    key = toy.keys[0][1]
    suite, (honest, beta) = toy.genesis.suite, key.prove(b"alpha")
    for salt in (bytes(32), bytes(range(32))):
        other = another_proof(key, b"alpha", salt)
        assert other != honest
        assert suite.vrf_verify(key.public, b"alpha", other) == beta


def test_spam_is_bounded_at_its_receivers() -> None:
    run = play(begin("spam"), 4)
    for server in run.toy.world.servers[BAD:]:
        assert len(server.catch_up.early) <= 256
        assert len(server.evidence) <= 2 * BAD * 4
    assert {found.server for found in run.evidence} == set(run.behaviours)


def test_censors_leave_out_what_the_quota_does_not_need() -> None:
    """Clients 0, 1 and 2 hand in to censors, who take nothing, and come too late elsewhere; in
    their turn the censors list as few of the other six as they may, and are believed."""
    run = play(begin("censor", clients=9, quota=5), 12)
    counts = {
        result.block.header.aggregator in run.behaviours: result.block.header.count
        for result in run.results
    }
    assert counts == {True: 5, False: 6}
    assert run.acted["censor: left out updates"] > 0
    listed = [{update.record.client for update in result.updates} for result in run.results]
    assert set().union(*listed) == {client.public for client in run.toy.clients[3:]}


def test_after_the_deadline_censors_list_a_single_update() -> None:
    run = play(begin("censor", clients=4, quota=5, update_us=9_000_000), 10)
    counts = {
        result.block.header.aggregator in run.behaviours: result.block.header.count
        for result in run.results
    }
    assert counts == {True: 1, False: 4}


def test_tampering_takes_every_form_and_counts_nowhere() -> None:
    run = play(begin("tamper"), 6)
    for what in ("payload", "samples", "signature"):
        assert run.acted[f"tamper: {what}"] > 0
    honest = {body.record.digest for *_, body, _, _ in run.said("update", range(BAD, 10))}
    altered = [body for _, body, _, _ in run.said("update")]
    assert altered
    for result in run.results:
        for update in result.updates:
            assert all(update is not one for one in altered)
    assert honest


def test_what_is_withheld_is_got_elsewhere_or_not_approved() -> None:
    run = begin("withhold")
    for _ in range(6):
        [*_, result] = play(run, 1).results
        world, link = run.toy.world, result.block.header.aggregate_cid
        assert world.providers.get(9, link) == result.contents.aggregate
        assert result.block.header.count == 4
    assert not run.said("update")


def test_rushers_speak_at_once_their_circle_first() -> None:
    run = play(begin("rush"), 3)
    for kind in ("ticket", "vote"):
        for who, _, to, delay in run.said(kind):
            assert delay == AT_ONCE
            allies = set(range(BAD)) - {who}
            assert set(to[: len(allies & set(to))]) <= allies


def test_the_last_vote_goes_to_one_server_only() -> None:
    run = play(begin("late_block"), 6)
    assert not run.said("block")
    certs: dict[tuple[int, bytes], set[int]] = {}
    for who, body, to, _ in run.said("vote"):
        if body.phase == "cert" and body.server == who:
            assert len(to) == 1
            certs.setdefault((body.height, body.block), set()).update(to)
    assert certs
    assert all(len(to) == 1 for to in certs.values()), "the same one for all of the circle"


def test_locks_are_hidden_from_some_and_forged_for_others() -> None:
    run = check_thirty(f"{TWO_FACED}+false_locks", 12, seed=1)
    timeouts = [body for who, body, _, _ in run.said("timeout") if body.server == who]
    assert any(body.lock is None for body in timeouts)
    assert any(body.lock is not None for body in timeouts)
    assert run.refused["lock"] > 0
    assert run.refused["timeout signature"] > 0


def test_the_stale_say_again_what_is_over() -> None:
    run = play(begin("stale+gaussian"), 6)
    heights = [result.block.header.height for result in run.results]
    blocks = {body.header.height for _, body, _, _ in run.said("block")}
    assert blocks & set(heights[:-1])
    assert run.refused["vote signature"] > 0


def test_lies_about_ones_place_lead_nobody_astray() -> None:
    run = play(begin("lie_status"), 6)
    assert any(body.height > 2**20 for _, body, _, _ in run.said("status"))
    assert any(body.height > 2**20 for _, body, _, _ in run.said("want"))
    for server in run.toy.world.servers[BAD:]:
        assert server.chain.height == 6
        assert not server.lacking
