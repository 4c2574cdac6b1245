"""The clients of a run under secure aggregation: their keys, their groups, and their seats in a
round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import inf

import numpy as np
from nacl import bindings

from bfedrec.config.schema import Config
from bfedrec.federation.client_links import ClientLinks
from bfedrec.federation.client_sampling import cohort
from bfedrec.federation.learner import Learner
from bfedrec.federation.masked_round import MaskedRound, Seat
from bfedrec.federation.participants import Participants
from bfedrec.federation.round_training import RoundTraining
from bfedrec.federation.uplink import Uplink
from bfedrec.privacy.secure.masks import Lanes, agreement
from bfedrec.privacy.secure.member import Member, Shared
from bfedrec.privacy.secure.messages import Masked, Setup, set_of
from bfedrec.privacy.secure.scheme import Scheme
from bfedrec.privacy.secure.violations import VIOLATIONS
from bfedrec.streams import Streams
from consensus.ledger.updates import SignedUpdate
from consensus.ledger.validity import Head


class Masking:
    """All clients under secure aggregation, dealt into groups height by height."""

    def __init__(
        self,
        config: Config,
        streams: Streams,
        participants: Participants,
        links: ClientLinks,
        uplink: Uplink,
    ) -> None:
        self._config, self._streams = config, streams
        self._participants, self._links, self._uplink = participants, links, uplink
        self._agreed: dict[tuple[int, int], bytes] = {}
        self._secrets: dict[int, bytes] = {}
        self._publics: dict[int, bytes] = {}

    def seats(self, head: Head, learner: Learner, ready: Mapping[int, float]) -> list[Seat]:
        """The seats of the round after ``head``, group by group. ``ready``: the simulated second at
        which each client that stays has trained; those of the cohort that are not there leave after
        their setup."""
        secure, height = learner.model.secure, head.height + 1
        assert secure is not None
        per_round, users = self._config.clients.per_round, learner.data.users
        dealt = cohort(self._streams, users, per_round, height).tolist()
        for kept in (self._agreed, self._secrets, self._publics):
            kept.clear()  # the next round has other groups
        shared, seats = Shared(), []
        for group in secure.scheme.deal(dealt, head.beacon):
            for client in group:
                kind = VIOLATIONS.get(learner.adversary.violation(height, client), Member)
                member = kind(
                    secure.scheme,
                    group,
                    client,
                    head.beacon,
                    self._streams.bytes("masks", height, client),
                    partial(self._agree, client),
                    shared,
                )
                seats.append(Seat(client, member, ready.get(client, inf)))
        return seats

    def begin(
        self,
        scheme: Scheme,
        head: Head,
        began: float,
        training: RoundTraining[Lanes],
        clients: np.ndarray,
    ) -> MaskedRound:
        """The round after ``head``, which began at this simulated second with the ``training`` of
        ``clients`` (int64[m])."""
        place = {client: number for number, client in enumerate(clients.tolist())}
        return MaskedRound(
            self._config,
            scheme,
            head,
            began,
            self._uplink,
            self._links,
            lambda client: training.sent(place[client]),
        )

    def undelayed(
        self, head: Head, seats: Sequence[Seat], lanes: Mapping[int, Lanes]
    ) -> list[SignedUpdate]:
        """The messages of a round in which every client that stays has all messages of its group
        in time. ``lanes``: those of each client that stays, which are used up."""
        sent: list[tuple[int, bytes]] = []
        groups: dict[tuple[int, ...], list[Member]] = {}
        for seat in seats:
            groups.setdefault(seat.member.group, []).append(seat.member)
        for members in groups.values():
            setups = {}
            for member in members:
                sent.append((member.number, member.setup()))
                setups[member.position] = Setup.decode(member.scheme, sent[-1][1])
            roster, survivors, stays = set_of(setups), 0, []
            for member in members:
                if member.number not in lanes:
                    continue
                payload = member.masked(lanes[member.number], setups)
                if payload is None:
                    continue
                sent.append((member.number, payload))
                stays.append(member)
                if Masked.decode(member.scheme, payload).roster == roster:
                    survivors |= 1 << member.position
            shares = ((each.number, each.unmask(setups, roster, survivors)) for each in stays)
            sent += [(number, payload) for number, payload in shares if payload is not None]
        return [self._uplink.signed(head, number, payload) for number, payload in sent]

    def _agree(self, client: int, other: int) -> bytes:
        """The 32 bytes that the keys of two clients in the genesis agree on by X25519, to which
        keys for signatures (Ed25519) are converted as by libsodium."""
        pair = (min(client, other), max(client, other))
        found = self._agreed.get(pair)
        if found is None:
            found = self._agreed[pair] = agreement(self._secret(client), self._public(other))
        return found

    def _secret(self, client: int) -> bytes:
        """A client's secret key for agreements, kept for the round."""
        found = self._secrets.get(client)
        if found is None:
            _, signing = bindings.crypto_sign_seed_keypair(self._streams.bytes("keys", 2, client))
            found = bindings.crypto_sign_ed25519_sk_to_curve25519(signing)
            self._secrets[client] = found
        return found

    def _public(self, client: int) -> bytes:
        """A client's public key for agreements, kept for the round."""
        found = self._publics.get(client)
        if found is None:
            signing = self._participants.client_key(client).public
            found = bindings.crypto_sign_ed25519_pk_to_curve25519(signing)
            self._publics[client] = found
        return found
