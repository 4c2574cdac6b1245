"""Members that break the protocol, beside sending false numbers: each is a class that differs from
`bfedrec.privacy.secure.member.Member` in one message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Final

from bfedrec.privacy.secure.masks import KEY, Lanes, key_stream, xor
from bfedrec.privacy.secure.member import Member
from bfedrec.privacy.secure.messages import HEAD, Setup, Unmask


class Garbage(Member):
    """Its masked update is noise, whose masks cancel with nobody's."""

    def masked(self, lanes: Lanes, setups: Mapping[int, Setup]) -> bytes | None:
        """The masked update of an honest member, with other lanes."""
        payload = super().masked(lanes, setups)
        if payload is None:
            return None
        noise = Lanes.of_stream(self.scheme, key_stream(self._self, self.scheme.stream_size))
        return payload[: HEAD + self.scheme.map_size] + noise.packed()


class FalseShares(Member):
    """The shares that it gives of others' secrets are not those that they dealt."""

    def unmask(self, setups: Mapping[int, Setup], roster: int, survivors: int) -> bytes | None:
        """The shares of an honest member, all but its own with their bits turned."""
        payload = super().unmask(setups, roster, survivors)
        if payload is None:
            return None
        message = Unmask.decode(self.scheme, payload)
        flipped = {
            place: xor(share, b"\xff" * KEY)
            for place, share in message.shares.items()
            if place != self.position
        }
        return replace(message, shares=flipped).encode(self.scheme)


class FalseDealing(Member):
    """The shares that it deals, and commits to, give no secret of its own."""

    @cached_property
    def _dealt(self) -> dict[int, bytes]:
        return {
            place: key_stream(xor(both[:KEY], both[KEY:]), 2 * KEY)
            for place, both in super()._dealt.items()
        }


class Silence(Member):
    """It gives no shares."""

    def unmask(self, setups: Mapping[int, Setup], roster: int, survivors: int) -> bytes | None:
        """No message."""
        return None


class OtherRoster(Member):
    """It masks its update for fewer members than have set up, and says so."""

    def masked(self, lanes: Lanes, setups: Mapping[int, Setup]) -> bytes | None:
        """The update masked without one of the members."""
        last = max((place for place in setups if place != self.position), default=None)
        fewer = {place: setup for place, setup in setups.items() if place != last}
        return super().masked(lanes, fewer)


VIOLATIONS: Final[Mapping[str, type[Member]]] = {
    "garbage": Garbage,
    "false_shares": FalseShares,
    "false_dealing": FalseDealing,
    "silence": Silence,
    "other_roster": OtherRoster,
}
"""By name: what a member does instead of its part."""
