"""One edge server: Algorithm 2 as handlers of what arrives.

``on_update``, ``on_ticket``, ``on_candidate``, ``on_vote``, ``on_block`` and ``on_timeout`` each
look at the server's state, change it, and say through the `Host` what to send and when to be
woken. They know no clock, no latency and no other server; a handler that refuses its input changes
nothing but a counter. Each ``on_...`` returns whether the message is worth passing on.

The steps of a height: draw a ticket, collect the others' until the deadline, form the committee;
once updates are sufficient the aggregators, in the order of their draws, propose one step each;
members recompute the aggregate and vote; above two thirds the candidate becomes the block; after
MaxStep failed steps a new attempt draws new tickets.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Literal, Protocol

import numpy as np

from consensus.application import Contents
from consensus.byzantine import Behaviour
from consensus.chain import Chain, InvalidBlock
from consensus.checks import SharedChecks
from consensus.committee import Committee, Draw, InvalidTicket
from consensus.keys import SigningKey
from consensus.records import Block, Candidate, Header, Ticket, Vote
from consensus.updates import SignedUpdate, UpdatePool, updates_root
from consensus.voting import Ballot, Outcome, Slot
from consensus.vrf import VrfKey

Kind = Literal["update", "ticket", "candidate", "vote", "block"]
Timer = tuple[str, int, int, int]
"""(what, height, attempt, step): what a timeout was set for; a stale one is ignored."""

#: Tickets and votes are kept for this many attempts ahead of one's own, no further: a server
#: cannot be made to remember what a malicious one invents about a distant future.
ATTEMPTS_AHEAD = 2


class Host(Protocol):
    """The world as one server sees it."""

    def now_us(self) -> int:
        """This server's clock, in microseconds."""
        ...

    def charge(self, operation: str, size: int = 0, times: int = 1) -> None:
        """Spend the simulated time of ``times`` operations over ``size`` bytes: what is sent from
        now on leaves that much later."""
        ...

    def gossip(self, kind: Kind, body: object, size: int) -> None:
        """Send to all other servers."""
        ...

    def timer(self, microseconds: int, timer: Timer) -> None:
        """Call ``on_timeout(timer)`` after this long."""
        ...

    def publish(self, contents: Contents) -> None:
        """Put a proposed block's contents into the content store."""
        ...

    def fetch(self, link: bytes) -> None:
        """Get the model at ``link`` from the content store."""
        ...

    def generator(self, *label: int) -> np.random.Generator:
        """This server's own randomness for what a malicious server draws."""
        ...

    def appended(self, block: Block) -> None:
        """The server's chain has grown by ``block``."""
        ...


class EdgeServer:
    """One server's state at one height, and its handlers."""

    def __init__(
        self,
        index: int,
        signing_key: SigningKey,
        vrf_key: VrfKey,
        chain: Chain,
        checks: SharedChecks,
        host: Host,
        behaviour: Behaviour | None = None,
    ) -> None:
        self.index = index
        self.chain = chain
        self.genesis = chain.genesis
        self.behaviour = behaviour
        """None for an honest server."""
        self.refused: Counter[str] = Counter()
        """Messages turned away, by reason."""
        self.pool = UpdatePool(checks.update)
        self._signing_key = signing_key
        self._vrf_key = vrf_key
        self._checks = checks
        self._host = host
        self._active = False

    # -- a height begins and ends -----------------------------------------------------------------

    def enter_height(self) -> None:
        """Begin the height after the chain's head (Algorithm 2, lines 1-3)."""
        self.height = self.chain.height + 1
        self.late = False
        """Whether the deadline for updates has passed: what is at hand is then sufficient."""
        self.attempt = 0
        self.step = -1
        """The step in progress; -1 while tickets or updates are being collected."""
        self._draws: dict[int, dict[int, Draw]] = {}
        self._committees: dict[int, tuple[Committee, tuple[int, ...]]] = {}
        self._candidates: dict[Slot, dict[int, Candidate]] = {}
        """By aggregator: before the committee is formed nobody knows whose turn a slot is."""
        self._ballots: dict[Slot, Ballot] = {}
        self._voted: set[Slot] = set()
        self._models: set[bytes] = set()
        """Links of the models that this server has, because it computed them."""
        self.pool.clear()
        self._active = True
        self._set_timer("updates", self.genesis.parameters.update_us)
        self._begin_attempt(0)

    def _decide(self, block: Block) -> None:
        """Append the validated block and have its model at hand; the height is over here."""
        self.chain.append(block, self._checks.block)
        if block.header.model not in self._models:
            self._host.fetch(block.header.model)
        self._active = False
        self._host.appended(block)

    # -- updates ----------------------------------------------------------------------------------

    def on_update(self, update: SignedUpdate) -> bool:
        """Check and pool a client's update (lines 2-3)."""
        if not self._active:
            return False
        self._host.charge("check_update", len(update.payload))
        if not self.pool.add(update, self.chain.head):
            return False
        if self.step < 0:
            self._begin_steps_if_ready()
        else:
            self._vote_if_due((self.attempt, self.step))
        return True

    def _updates_are_sufficient(self, count: int) -> bool:
        """Line 4: the quota, or whatever is there once the deadline has passed."""
        return count >= self.genesis.parameters.quota or (self.late and count > 0)

    # -- the committee ----------------------------------------------------------------------------

    def _begin_attempt(self, attempt: int) -> None:
        """Draw and announce a ticket; collect the others' until the deadline (line 17)."""
        self.attempt, self.step = attempt, -1
        head = self.chain.head
        alpha = Ticket.alpha(self.genesis.chain_id, head.beacon, self.height, attempt)
        proof, beta = self._vrf_key.prove(alpha)
        self._host.charge("vrf_prove")
        ticket = Ticket(self.height, attempt, self.index, proof)
        draw = self._draws.setdefault(attempt, {})[self.index] = Draw(ticket, beta)
        self._checks.vouch(head, draw)
        self._host.gossip("ticket", ticket, len(ticket.encoded))
        self._set_timer("tickets", self.genesis.parameters.ticket_us)

    def on_ticket(self, ticket: Ticket) -> bool:
        """Check another server's draw and keep it until the committee is formed."""
        if not self._active or ticket.height != self.height:
            return False
        if not self.attempt <= ticket.attempt <= self.attempt + ATTEMPTS_AHEAD:
            return self._refuse("ticket for another attempt")
        if ticket.server in self._draws.get(ticket.attempt, {}):
            return False
        self._host.charge("vrf_verify")
        try:
            draw = self._checks.ticket(self.chain.head, ticket)
        except InvalidTicket:
            return self._refuse("ticket proof")
        if ticket.attempt in self._committees:
            self._refuse("late ticket")  # this server's committee is formed; others' may not be
        else:
            self._draws.setdefault(ticket.attempt, {})[ticket.server] = draw
        return True

    def _form_committee(self) -> None:
        """The deadline for tickets has passed: the best ones are the committee."""
        if self.attempt in self._committees:
            return
        draws = self._draws[self.attempt]
        self._committees[self.attempt] = self._checks.committee(
            self.chain.head, self.attempt, draws
        )
        for step in range(self.genesis.parameters.max_step):
            self._settle((self.attempt, step))  # others may have been faster
        if self._active:
            self._begin_steps_if_ready()

    # -- steps ------------------------------------------------------------------------------------

    def _begin_steps_if_ready(self) -> None:
        if self._updates_are_sufficient(len(self.pool)) and self.attempt in self._committees:
            self._begin_step(0)

    def _begin_step(self, step: int) -> None:
        """One aggregator's turn (lines 9-16); after MaxStep of them, a new committee (line 17)."""
        slot = (self.attempt, step)
        _, order = self._committees[self.attempt]
        if step >= min(self.genesis.parameters.max_step, len(order)):
            self._begin_attempt(self.attempt + 1)
            return
        self.step = step
        self._set_timer("vote", self.genesis.parameters.vote_us)
        if order[step] == self.index:
            self._propose()
        else:
            self._vote_if_due(slot)
        self._settle(slot)

    def on_timeout(self, timer: Timer) -> None:
        """A deadline has passed; a timer set for what is already over does nothing."""
        what, height, attempt, step = timer
        if not self._active or height != self.height:
            return
        if what == "updates":
            self.late = True
            if self.step < 0:
                self._begin_steps_if_ready()
        elif attempt == self.attempt:
            if what == "tickets":
                self._form_committee()
            elif step == self.step:
                self._begin_step(step + 1)

    # -- candidates -------------------------------------------------------------------------------

    def _propose(self) -> None:
        """Aggregate, publish, and send the candidate to the committee (lines 4-6)."""
        if not self._updates_are_sufficient(len(self.pool)):
            return  # a client's second update took its first away: wait for others
        committee, _ = self._committees[self.attempt]
        updates = self.pool.ordered()
        contents = self._aggregate(updates)
        if self.behaviour is not None:
            contents = self.behaviour.contents(contents, self._generator(0))
        self._host.publish(contents)
        self._host.charge("store_put", len(contents.model))
        model = self._checks.address(contents.model)
        self._models.add(model)
        digests = tuple(update.record.digest for update in updates)
        head = self.chain.head
        own = self._draws[self.attempt][self.index].ticket
        header = Header(
            chain_id=self.genesis.chain_id,
            height=self.height,
            attempt=self.attempt,
            step=self.step,
            timestamp=max(self._host.now_us(), head.timestamp + 1),
            parent=head.cid,
            aggregator=self.index,
            proof=own.proof,
            committee=committee.digest,
            updates=updates_root(digests),
            count=len(updates),
            samples=sum(update.record.samples for update in updates),
            model=model,
            snapshot=(
                None if contents.snapshot is None else self._checks.address(contents.snapshot)
            ),
        )
        self._host.charge("sign")
        candidate = Candidate(
            header, self._signing_key.sign(header.signed), committee.tickets, digests
        )
        self._host.gossip("candidate", candidate, len(candidate.encoded))
        slot = (self.attempt, self.step)
        self._candidates.setdefault(slot, {})[self.index] = candidate
        self._vote_if_due(slot)

    def _candidate_of(self, slot: Slot) -> Candidate | None:
        """The candidate of the server whose turn the slot is, if it is here and that is known."""
        if slot[0] not in self._committees:
            return None
        _, order = self._committees[slot[0]]
        return self._candidates.get(slot, {}).get(order[slot[1]]) if slot[1] < len(order) else None

    def on_candidate(self, candidate: Candidate) -> bool:
        """Keep an aggregator's first candidate of a slot if its header stands; vote if it is its
        turn."""
        header = candidate.header
        if not self._active or header.height != self.height:
            return False
        slot = (header.attempt, header.step)
        if header.aggregator in self._candidates.get(slot, {}):
            return False
        if header.attempt > self.attempt + ATTEMPTS_AHEAD:
            return self._refuse("candidate for another attempt")
        self._host.charge("vrf_verify")
        self._host.charge("verify")
        try:
            self._checks.candidate(self.chain.head, candidate)
        except InvalidBlock:
            return self._refuse("candidate header")
        self._candidates.setdefault(slot, {})[header.aggregator] = candidate
        self._vote_if_due(slot)
        self._settle(slot)
        return True

    def _vote_if_due(self, slot: Slot) -> None:
        """A member votes once in a slot, in its turn, when it holds the candidate's updates."""
        candidate = self._candidate_of(slot)
        if candidate is None or slot != (self.attempt, self.step) or slot in self._voted:
            return
        committee, _ = self._committees[self.attempt]
        if self.index not in committee.weights:
            return
        updates = self.pool.pick(candidate.updates)
        if updates is None:
            return  # an update that is still on its way; MaxVoteDuration bounds the wait
        approve = self._is_correct(candidate, updates, committee)
        if self.behaviour is not None:
            approve = self.behaviour.verdict(approve, self._generator(1))
        header = candidate.header
        fields = (header.chain_id, header.height, *slot, header.cid, approve)
        self._host.charge("sign")
        vote = Vote(*fields, self.index, self._signing_key.sign(Vote.signing_digest(*fields)))
        self._voted.add(slot)
        self._ballots.setdefault(slot, Ballot()).add(vote)
        self._host.gossip("vote", vote, len(vote.encoded))
        self._settle(slot)

    def _is_correct(
        self, candidate: Candidate, updates: list[SignedUpdate], committee: Committee
    ) -> bool:
        """Whether an honest member approves: the right committee, enough updates in their order,
        and, recomputed from them, the very bytes that the addresses name."""
        header = candidate.header
        digests = list(candidate.updates)
        if (
            header.committee != committee.digest
            or header.timestamp > self._host.now_us() + self.genesis.parameters.vote_us
            or not self._updates_are_sufficient(len(digests))
            or header.count != len(digests)
            or any(a >= b for a, b in pairwise(digests))
            or len({update.record.client for update in updates}) != len(updates)
            or header.updates != self._checks.updates_root(candidate)
            or header.samples != sum(update.record.samples for update in updates)
        ):
            return False
        contents = self._aggregate(updates)
        self._host.charge("hash", len(contents.model))
        model = self._checks.address(contents.model)
        self._models.add(model)
        return header.model == model and header.snapshot == (
            None if contents.snapshot is None else self._checks.address(contents.snapshot)
        )

    def _aggregate(self, updates: list[SignedUpdate]) -> Contents:
        self._host.charge("aggregate", sum(len(update.payload) for update in updates))
        return self._checks.aggregate(self.chain.head, updates)

    # -- votes and blocks -------------------------------------------------------------------------

    def on_vote(self, vote: Vote) -> bool:
        """Count a member's vote; settle the slot if it decides it."""
        if not self._active or vote.height != self.height:
            return False
        if vote.server >= len(self.genesis.servers) or vote.chain_id != self.genesis.chain_id:
            return self._refuse("vote by a stranger")
        if vote.attempt > self.attempt + ATTEMPTS_AHEAD:
            return self._refuse("vote for another attempt")
        if vote.step >= self.genesis.parameters.max_step:
            return self._refuse("vote beyond MaxStep")
        self._host.charge("verify")
        if not self._checks.vote(self.chain.head, vote):
            return self._refuse("vote signature")
        slot = (vote.attempt, vote.step)
        if not self._ballots.setdefault(slot, Ballot()).add(vote):
            return self._refuse("second vote")
        self._settle(slot)
        return True

    def _settle(self, slot: Slot) -> None:
        """Append what is certified; move on from what cannot be (lines 12-16)."""
        candidate, ballot = self._candidate_of(slot), self._ballots.get(slot)
        if not self._active or candidate is None or ballot is None:
            return
        committee, _ = self._committees[slot[0]]
        outcome = ballot.outcome(committee, candidate)
        if outcome is Outcome.APPROVED:
            if candidate.header.committee != committee.digest:
                return  # certified before another committee: its block will tell
            block = Block(
                candidate.header,
                candidate.signature,
                candidate.committee,
                ballot.certificate(committee, candidate),
            )
            if candidate.header.aggregator == self.index:
                self._host.gossip("block", block, len(block.encoded))
            self._decide(block)
        elif outcome is Outcome.FAILED and slot == (self.attempt, self.step):
            self._begin_step(self.step + 1)

    def on_block(self, block: Block) -> bool:
        """Verify a validated block's signatures and add it to the chain (paper, III.D)."""
        if not self._active or block.height != self.height:
            # Others downstream may still need the block that this server already has.
            return block.cid == self.chain.head.cid
        self._host.charge("vrf_verify", times=len(block.committee))
        self._host.charge("verify", times=len(block.certificate) + 1)
        try:
            self._decide(block)
        except InvalidBlock:
            return self._refuse("block")
        return True

    # -- small help -------------------------------------------------------------------------------

    def _refuse(self, reason: str) -> Literal[False]:
        self.refused[reason] += 1
        return False

    def _set_timer(self, what: str, microseconds: int) -> None:
        self._host.timer(microseconds, (what, self.height, self.attempt, self.step))

    def _generator(self, purpose: int) -> np.random.Generator:
        return self._host.generator(self.height, self.attempt, self.step, purpose)
