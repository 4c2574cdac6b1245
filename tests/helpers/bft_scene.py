"""Messages of one height under `bft` that several tests hear."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from consensus.encoding.unixfs import file_cid
from consensus.protocols.bft.state import ATTEMPTS_AHEAD
from consensus.records.block import Candidate
from consensus.records.view import View
from consensus.records.votes import Certificate, Vote
from consensus.server.message import Malformed
from tests.helpers.bft_rig import (
    BYSTANDER,
    CLIENTS,
    FORGE,
    LEADER,
    MEMBER,
    MEMBERS,
    ORDER,
    SEATS,
    SERVERS,
    TOY,
)
from tests.helpers.forge import Forge
from tests.helpers.toy import Toy

UPDATES = FORGE.updates()
CANDIDATE = FORGE.candidate()
BLOCK = CANDIDATE.header.cid
TWIN = FORGE.candidate(timestamp=2_000_000)
"""The leader's other proposal of the same view."""
LOCK = FORGE.lock(CANDIDATE)
OTHERS = [server for server in MEMBERS if server != MEMBER]
"""The members but `MEMBER`."""


def closed(view: View = (0, 0), lock: Certificate | None = None) -> Any:
    """What closes a view; one of its signers names ``lock``."""
    return FORGE.closing(view, locks=None if lock is None else {FORGE.members(view[0])[0]: lock})


def own_vote(server: int, candidate: Candidate = CANDIDATE, phase: str = "soft") -> Vote:
    """What a server says that votes for ``candidate``."""
    proposal = candidate.proposal if phase == "soft" else b""
    return FORGE.vote(candidate, server, phase, proposal=proposal)


SECOND = TOY.update(0, value=7.0)
"""Client 0's second, different update."""
TWICE = sorted([*UPDATES, SECOND], key=lambda update: update.record.digest)
WRONG: dict[str, Candidate] = {
    "another aggregate": FORGE.candidate(aggregate_cid=file_cid(b"noise")),
    "a snapshot where none belongs": FORGE.candidate(snapshot=file_cid(b"state")),
    "updates in another order": FORGE.candidate(list(reversed(UPDATES))),
    "an update twice": FORGE.candidate([UPDATES[0], *UPDATES]),
    "a client twice": FORGE.candidate(TWICE),
    "another N": FORGE.candidate(samples=1),
}
LATE = next(server for server in range(SERVERS) if server not in (MEMBER, LEADER))
OTHER = Forge(
    Toy(servers=SERVERS, clients=CLIENTS, committee_size=SEATS, crypto="modelled", seed=5)
)
"""Another chain."""
SECOND_WHY = closed()
SECOND_CANDIDATE = FORGE.candidate(view=(0, 1), justification=SECOND_WHY)
A_TICKET = FORGE.ticket(LATE)
A_VOTE = FORGE.vote(CANDIDATE, OTHERS[0])
A_TIMEOUT = FORGE.timeout(OTHERS[0], lock=LOCK)
FAR = (ATTEMPTS_AHEAD + 1, 0)


def narrow(candidate: Candidate = CANDIDATE) -> Certificate:
    """A lock of exactly two thirds."""
    return FORGE.lock(candidate, signers=MEMBERS[:4])


REFUSED: dict[str, tuple[str, Any, str]] = {
    # -- tickets
    "a forged ticket": ("ticket", replace(A_TICKET, proof=bytes(80)), "ticket proof"),
    "a ticket of another chain": ("ticket", OTHER.ticket(LATE), "ticket proof"),
    "a ticket for another server": ("ticket", replace(A_TICKET, server=LEADER), "ticket proof"),
    "a ticket of another height": (
        "ticket",
        replace(FORGE.ticket(LATE, height=3), height=2),
        "ticket proof",
    ),
    "a ticket of nobody": ("ticket", replace(A_TICKET, server=SERVERS), "ticket proof"),
    # -- candidates
    "a candidate of another chain": (
        "candidate",
        OTHER.candidate(aggregator=LEADER),
        "candidate header",
    ),
    "a candidate on another parent": (
        "candidate",
        FORGE.candidate(parent=file_cid(b"")),
        "candidate header",
    ),
    "a candidate of the past": ("candidate", FORGE.candidate(timestamp=0), "candidate header"),
    "a candidate signed by another": (
        "candidate",
        FORGE.candidate(signer=BYSTANDER),
        "candidate header",
    ),
    "a candidate of nobody": (
        "candidate",
        replace(CANDIDATE, header=replace(CANDIDATE.header, aggregator=SERVERS)),
        "candidate: not its turn",
    ),
    "a candidate out of turn": (
        "candidate",
        FORGE.candidate(aggregator=ORDER[1]),
        "candidate: not its turn",
    ),
    "a candidate beyond MaxStep": (
        "candidate",
        FORGE.candidate(step=3, aggregator=LEADER),
        "candidate: not its turn",
    ),
    "a candidate far ahead": (
        "candidate",
        FORGE.candidate(view=FAR),
        "candidate for another attempt",
    ),
    "a candidate without the certificate of the view before": (
        "candidate",
        FORGE.candidate(view=(0, 1)),
        "candidate: no justification",
    ),
    "a candidate with the certificate of another view": (
        "candidate",
        FORGE.candidate(view=(0, 1), justification=closed((0, 1))),
        "candidate: justification of another view",
    ),
    "a candidate with a certificate of too few": (
        "candidate",
        FORGE.candidate(view=(0, 1), justification=FORGE.closing(servers=MEMBERS[:4])),
        "candidate header",
    ),
    "a candidate with a forged certificate": (
        "candidate",
        replace(
            SECOND_CANDIDATE,
            justification=replace(
                SECOND_WHY,
                entries=((SECOND_WHY.entries[0][0], None, bytes(64)), *SECOND_WHY.entries[1:]),
            ),
        ),
        "candidate header",
    ),
    "a new candidate despite a lock": (
        "candidate",
        FORGE.candidate(view=(0, 1), justification=closed((0, 0), LOCK)),
        "candidate: not the locked block",
    ),
    "a candidate again without a lock": (
        "candidate",
        FORGE.again(CANDIDATE, (0, 1), SECOND_WHY),
        "candidate: proposed again without a lock",
    ),
    "a candidate again by another hand": (
        "candidate",
        FORGE.again(CANDIDATE, (0, 1), closed((0, 0), LOCK), signer=BYSTANDER),
        "candidate header",
    ),
    "a candidate with a ticket less than its header names": (
        "candidate",
        replace(CANDIDATE, tickets=CANDIDATE.tickets[:-1]),
        "candidate header",
    ),
    "a candidate with a phantom's ticket": (
        "candidate",
        FORGE.candidate(
            tickets=(*CANDIDATE.tickets[:-1], replace(CANDIDATE.tickets[-1], proof=bytes(80)))
        ),
        "candidate header",
    ),
    "a candidate with too few tickets": (
        "candidate",
        FORGE.candidate(tickets=FORGE.tickets(range(4))),
        "candidate header",
    ),
    "a candidate whose updates were altered on the way": (
        "candidate",
        replace(CANDIDATE, updates=CANDIDATE.updates[:2]),
        "candidate header",
    ),
    # -- votes
    "a vote of nobody": ("vote", replace(A_VOTE, server=SERVERS), "vote by a stranger"),
    "a vote on another chain": (
        "vote",
        FORGE.vote(CANDIDATE, OTHERS[0], chain_id=bytes(32)),
        "vote by a stranger",
    ),
    "a vote without a seat": (
        "vote",
        FORGE.vote(CANDIDATE, BYSTANDER),
        "vote without a seat",
    ),
    "a vote far ahead": (
        "vote",
        FORGE.vote(CANDIDATE, OTHERS[0], attempt=ATTEMPTS_AHEAD + 1),
        "vote for another attempt",
    ),
    "a vote beyond MaxStep": (
        "vote",
        FORGE.vote(CANDIDATE, OTHERS[0], step=3),
        "vote beyond MaxStep",
    ),
    "a vote of the paper's": (
        "vote",
        FORGE.vote(CANDIDATE, OTHERS[0], "approve"),
        "vote of another protocol",
    ),
    "a vote in another's name": (
        "vote",
        FORGE.vote(CANDIDATE, OTHERS[0], signer=BYSTANDER),
        "vote signature",
    ),
    "a soft vote for a cert vote": ("vote", replace(A_VOTE, phase="cert"), "vote signature"),
    "a vote moved to another step": ("vote", replace(A_VOTE, step=1), "vote signature"),
    "a vote moved to another block": (
        "vote",
        replace(A_VOTE, block=file_cid(b"")),
        "vote signature",
    ),
    # -- timeouts
    "a timeout of nobody": ("timeout", replace(A_TIMEOUT, server=SERVERS), "timeout by a stranger"),
    "a timeout on another chain": (
        "timeout",
        replace(A_TIMEOUT, chain_id=bytes(32)),
        "timeout by a stranger",
    ),
    "a timeout far ahead": (
        "timeout",
        FORGE.timeout(OTHERS[0], FAR),
        "timeout of another attempt",
    ),
    "a timeout beyond MaxStep": (
        "timeout",
        FORGE.timeout(OTHERS[0], (0, 3)),
        "timeout beyond MaxStep",
    ),
    "everyone's timeout of a later step": (
        "timeout",
        FORGE.timeout(OTHERS[0], (0, 1), everyone=True),
        "timeout beyond MaxStep",
    ),
    "a timeout without a seat": (
        "timeout",
        FORGE.timeout(BYSTANDER),
        "timeout without a seat",
    ),
    "a timeout in another's name": (
        "timeout",
        FORGE.timeout(OTHERS[0], signer=BYSTANDER),
        "timeout signature",
    ),
    "a timeout turned into everyone's": (
        "timeout",
        replace(FORGE.timeout(OTHERS[0]), everyone=True),
        "timeout signature",
    ),
    "a timeout stripped of its lock": ("timeout", replace(A_TIMEOUT, lock=None), "timeout sig"),
    "a timeout with a lock of too few": (
        "timeout",
        FORGE.timeout(OTHERS[0], lock=narrow()),
        "timeout signature",
    ),
    "a timeout with a lock of a later view": (
        "timeout",
        FORGE.timeout(OTHERS[0], lock=FORGE.lock(SECOND_CANDIDATE)),
        "timeout signature",
    ),
    # -- closings and locks
    "a closing of too few": (
        "closure",
        FORGE.closing(servers=MEMBERS[:4]),
        "timeout certificate",
    ),
    "a closing of another chain": ("closure", OTHER.closing(), "timeout certificate"),
    "a closing by everyone, of too few": (
        "closure",
        FORGE.closing(servers=range(4), everyone=True),
        "timeout certificate",
    ),
    "a closing that leaves its lock out": (
        "closure",
        replace(closed((0, 0), LOCK), lock=None),
        "timeout certificate",
    ),
    "a closing beyond MaxStep": ("closure", FORGE.closing((0, 5)), "timeout certificate"),
    "a lock of too few": ("lock", narrow(), "lock"),
    "a decision for a lock": ("lock", FORGE.certificate(CANDIDATE), "lock"),
    "a lock moved to another block": ("lock", replace(LOCK, block=file_cid(b"")), "lock"),
    # -- blocks
    "a block with a damaged vote": (
        "block",
        replace(
            FORGE.block(),
            certificate=replace(
                FORGE.certificate(CANDIDATE),
                signatures=((MEMBERS[0], bytes(64)), *FORGE.certificate(CANDIDATE).signatures[1:]),
            ),
        ),
        "block",
    ),
    "a block of two thirds and no more": ("block", FORGE.block(signers=MEMBERS[:4]), "block"),
    "a block of another chain": ("block", OTHER.block(), "block"),
    "a block signed by another": ("block", FORGE.block(FORGE.candidate(signer=BYSTANDER)), "block"),
    "a block out of turn": ("block", FORGE.block(FORGE.candidate(aggregator=ORDER[1])), "block"),
    # -- what is not of its kind
    "bytes that are no record": ("vote", Malformed(b"\xff", "not DAG-CBOR"), "malformed vote"),
    "a vote that is a ticket": ("vote", A_TICKET, "malformed vote"),
    "a candidate that is a block": ("candidate", FORGE.block(), "malformed candidate"),
    "a lock that is a closing": ("lock", SECOND_WHY, "malformed lock"),
    "an update without its payload": ("update", UPDATES[0].record, "malformed update"),
    "a status that is nothing": ("status", None, "malformed status"),
    "a want that is text": ("want", "updates, please", "malformed want"),
    "a kind that nobody knows": ("gossip", A_VOTE, "unknown kind of message"),
}
