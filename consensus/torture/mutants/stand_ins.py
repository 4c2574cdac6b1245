"""Stand-ins for functions of the protocol while a rule is switched off
(`consensus.torture.mutants.breaks`): each function here takes the original and returns its
stand-in."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha512
from typing import Any

from consensus.ledger.committee import Draw
from consensus.ledger.validity import InvalidBlock
from consensus.protocols.bft import validity
from consensus.protocols.bft import vote as bft
from consensus.torture.mutants.patch import StandIn


def always(value: Any) -> StandIn:
    """A function that returns ``value`` whatever it is given."""
    return lambda original: lambda *arguments, **keywords: value


def unless(*messages: str) -> StandIn:
    """A check that no longer raises `InvalidBlock` with one of these messages.

    The checks with these messages must be the last that the original makes: an exception ends it.
    """

    def make(original: Any) -> Any:
        def check(*arguments: Any, **keywords: Any) -> Any:
            try:
                return original(*arguments, **keywords)
            except InvalidBlock as error:
                if not any(message in str(error) for message in messages):
                    raise
                return None

        return check

    return make


def but_for(*reasons: str) -> StandIn:
    """A check that returns a reason for refusal or None: here None instead of ``reasons``."""

    def make(original: Any) -> Any:
        def check(*arguments: Any) -> Any:
            reason = original(*arguments)
            return None if reason in reasons else reason

        return check

    return make


# -- certificates ---------------------------------------------------------------------------------


def two_thirds(original: Any) -> Any:
    """`Committee.approves` to which exactly two thirds of the seats are enough."""
    return lambda self, weight: 3 * weight >= 2 * self.total


def one_less(original: Any) -> Any:
    """`Committee.approves` to which one seat fewer is enough."""
    return lambda self, weight: 3 * (weight + 1) > 2 * self.total


def certificate_without(what: str) -> StandIn:
    """`check_certificate` without its check of signatures, seats or distinct signers."""

    def make(original: Any) -> Any:
        def check(genesis: Any, height: int, committee: Any, found: Any, phase: str) -> None:
            if found.height != height or found.phase != phase:
                raise InvalidBlock("of another height or phase")
            names = [server for server, _ in found.signatures]
            if what != "distinct":
                names = sorted(set(names))
            signed = found.signed(genesis.chain_id)
            weight = 0
            for server, signature in found.signatures:
                key = genesis.servers[server].signing_key
                if what != "signatures" and not genesis.suite.verify(key, signed, signature):
                    raise InvalidBlock("a signature")
                if what != "seats" and server not in committee.weights:
                    raise InvalidBlock("without a seat")
            for server in names:
                weight += committee.weights.get(server, 1)
            if not committee.approves(weight):
                raise InvalidBlock("too few")

        return check

    return make


def a_seat_for_all(original: Any) -> Any:
    """`HeightContext.weight` that gives every server at least one seat."""
    return lambda self, *of: max(1, original(self, *of))


# -- draws ----------------------------------------------------------------------------------------


def unproven(original: Any) -> Any:
    """`check_ticket` that believes every proof of a server that there is."""

    def check(genesis: Any, seed: bytes, ticket: Any) -> Draw:
        if ticket.server >= len(genesis.servers):
            return original(genesis, seed, ticket)
        return Draw(ticket.server, sha512(ticket.proof).digest())

    return check


def by_proof(original: Any) -> Any:
    """`check_ticket` whose output is a hash of the proof, of which its holder may make many."""

    def check(genesis: Any, seed: bytes, ticket: Any) -> Draw:
        return Draw(original(genesis, seed, ticket).server, sha512(ticket.proof).digest())

    return check


def first_attempt(original: Any) -> Any:
    """`form_committee` or `aggregator_order` of the first attempt, whichever is asked for."""
    return lambda genesis, draws, attempt, spares=(): original(genesis, draws, 0, spares)


def tickets_alone(original: Any) -> Any:
    """`racing` without the servers whose tickets were not recorded."""
    return lambda genesis, beacon, draws, attempt: (draws, ())


def tickets_first(original: Any) -> Any:
    """`racing` of an early attempt, whichever is asked for."""
    return lambda genesis, beacon, draws, attempt: original(genesis, beacon, draws, 0)


# -- the vote -------------------------------------------------------------------------------------


def goes_on_voting(original: Any) -> Any:
    """`vote._left` after which votes are still cast in the view that was left."""

    def left(state: Any, end: Any, view: Any, everyone: bool) -> Any:
        after, effects = original(state, end, view, everyone)
        promises = replace(after.promises, left=state.promises.left)
        return replace(after, promises=promises), effects

    return left


def mute_again(original: Any) -> Any:
    """`vote.begin` that does not repeat the timeouts said before a crash."""

    def begin(context: Any, promises: Any, catching_up: bool = False) -> Any:
        state, effects = original(context, promises, catching_up)
        return replace(state, timed_out=max(state.timed_out, state.promises.left)), effects

    return begin


def blind_lock(original: Any) -> Any:
    """`vote._act` that certifies whatever it has cast a soft vote for."""

    def act(context: Any, state: Any) -> Any:
        state, effects = original(context, state)
        view, cast = state.view, state.promises.soft == state.view
        candidate = state.candidates.get(view)
        may = max(state.promises.cert, state.promises.left) < view
        if cast and may and candidate is not None:
            state = replace(state, promises=replace(state.promises, cert=view))
            effects = (*effects, bft.CastVote("cert", view, candidate.header.cid))
        return state, effects

    return act


def hearsay(original: Any) -> Any:
    """`Proposals.hear` that does not look at the leader's signature."""

    def hear(self: Any, view: Any, vote: Any) -> None:
        known, leader = self.first.get(view), self._vote.context.leader(view)
        if leader is not None and (known is None or known[0] != vote.block):
            self._note(view, vote.block, vote.proposal)

    return hear


# -- the edge of the premise ----------------------------------------------------------------------


def as_approves(original: Any) -> Any:
    """`Committee.overwhelms` to which more than two thirds are enough."""
    return lambda self, weight: self.approves(weight)


def hears_at_once(original: Any) -> Any:
    """`vote.on_closed` after which a member does not wait for locks."""

    def on_closed(context: Any, state: Any, certificate: Any) -> Any:
        state, effects = original(context, state, certificate)
        return replace(state, listened=True), effects

    return on_closed


def any_named_lock(original: Any) -> Any:
    """`check_timeout_certificate` to which the lock need not be the highest of those named."""

    def check(genesis: Any, head: Any, certificate: Any, sortition: Any) -> None:
        try:
            original(genesis, head, certificate, sortition)
        except InvalidBlock as error:
            if "not the highest" not in str(error):
                raise
            validity.check_no_later(certificate.lock, certificate)
            validity.check_lock(genesis, head, certificate.lock, sortition)

    return check


def _allowed(promises: Any, end: Any) -> list[Any]:
    return [lock for lock in promises.locks if lock.view <= end]


def first_step_alone(original: Any) -> Any:
    """`Promises.named_lock` that treats an attempt as its first step."""
    return lambda self, view, everyone: original(self, view, False)


def learned_last(original: Any) -> Any:
    """`Promises.named_lock` that takes the last lock of those allowed."""

    def named_lock(self: Any, view: Any, everyone: bool) -> Any:
        allowed = _allowed(self, (view[0] + 1, -1) if everyone else view)
        return allowed[-1] if allowed else None

    return named_lock


def forgets_what_it_told(original: Any) -> Any:
    """`Promises.named_lock` that takes the highest lock known by now."""
    return lambda self, view, everyone: original(replace(self, told=()), view, everyone)


def votes_again(original: Any) -> Any:
    """`Durable.abstains` of a server that believes it has promised nothing."""

    def abstains(self: Any, height: int) -> bool:
        original(self, height)
        return False

    return abstains


# -- a crash --------------------------------------------------------------------------------------


def forgetful(*lost: str) -> StandIn:
    """The `begin` of a participant that writes promises down, without these of them: none of a
    height count but after a crash."""

    def make(original: Any) -> Any:
        def begin(self: Any) -> None:
            fresh = type(self.durable.promises)()
            fields = {name: getattr(fresh, name) for name in lost}
            self.durable.promises = replace(self.durable.promises, **fields)
            original(self)

        return begin

    return make


def without_bodies(original: Any) -> Any:
    """`BftParticipant.begin` without the candidates of before a crash."""

    def begin(self: Any) -> None:
        self.durable.blocks.clear()
        original(self)

    return begin


# -- contents -------------------------------------------------------------------------------------


def two_of_a_client(original: Any) -> Any:
    """`UpdatePool.ordered` with the updates of clients that sent two."""
    return lambda self: [self._by_digest[key] for key in sorted(self._by_digest)]


def unpublished(original: Any) -> Any:
    """`recomputes` that keeps nothing of what it computed."""

    def recomputes(self: Any, candidate: Any, updates: Any) -> bool:
        host = self._host
        host.publish = lambda contents: None
        try:
            return original(self, candidate, updates)
        finally:
            del host.publish

    return recomputes


def trusts_the_proven(original: Any) -> Any:
    """`recomputes` that believes the model of whoever has proposed a right one at this height."""

    def recomputes(self: Any, candidate: Any, updates: Any) -> bool:
        proven = vars(self).setdefault("proven", set())
        proposer = self._server.height, candidate.header.aggregator
        if original(self, candidate, updates):
            proven.add(proposer)
            return True
        return proposer in proven and bool(self._checks.lists(candidate, updates))

    return recomputes


def judged_late(original: Any) -> Any:
    """`Proposals.judge` that holds a locked block, too, to this server's clock and tickets."""

    def judge(self: Any, candidate: Any) -> None:
        server, vote = self._server, self._vote
        here = server.pool.pick(candidate.updates) is not None
        complete = self._tickets.are_all_in(candidate)
        timely = server.contents.is_timely(candidate.header) and complete
        if candidate.turn is not None and here and not timely:
            vote.apply(bft.on_declined(vote.context, vote.state, candidate.view))
        else:
            original(self, candidate)

    return judge


def no_ticket_is_early(original: Any) -> Any:
    """`Tickets.begin` after which a ticket counts by how long it is here alone."""

    def begin(self: Any) -> None:
        original(self)
        self._early_until = -1

    return begin


def judged_at_once(original: Any) -> Any:
    """`judge` that does not wait for the time for draws to be over."""

    def judge(self: Any, *what: Any) -> None:
        collected, self._collected = self._collected, True
        original(self, *what)
        self._collected = collected

    return judge


# -- staying in step ------------------------------------------------------------------------------


def no_catching_up(original: Any) -> Any:
    """`on_status` that sends nobody the blocks it lacks."""

    def on_status(self: Any, status: Any, sender: int) -> bool:
        if status.height < self._server.chain.height:
            return False
        return bool(original(self, status, sender))

    return on_status


def no_say_again(original: Any) -> Any:
    """`on_resend` that neither says again what it said nor asks others."""

    def on_resend(self: Any) -> None:
        self._server.set_timer("resend", self._server.parameters.resend_us)

    return on_resend
