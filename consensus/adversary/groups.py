"""Groups of malicious servers: which servers they are, their behaviours, and their heights.

In a config ``malicious`` is a list of groups of servers, each a map:

    =========== ============== ====================================================================
    option      default        meaning
    =========== ============== ====================================================================
    behaviour                  a name, or a list of names applied in order (``BEHAVIOURS``)
    each                       the names apply not at once but in turn, each for so many heights,
                               again and again; ``honest`` is then a name, too
    share                      how many servers: a share of all, such as 0.1 or "1/3", rounded
                               down
    servers                    or which ones, by index
    placement   random         the order in which a share is dealt: ``random``; ``most_stake`` or
                               ``least_stake`` first; ``region``: one region by lot, then the next
    from        1              the first height at which they are malicious
    until       for ever       the last one
    by          heights        ``seconds``: ``from``, ``until`` and ``each`` are simulated seconds;
                               what counts is the second at which a height begins
    =========== ============== ====================================================================

Shares are dealt to servers that no other group has; a server that several groups name by index has
the behaviours of all of them. Outside of their heights the servers are honest. All malicious
servers are one adversary: they know each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from fractions import Fraction
from math import inf
from typing import Any, NamedTuple

import numpy as np

from consensus.adversary.behaviour import BEHAVIOURS, Behaviour, Circle
from consensus.adversary.composed import Composed
from consensus.adversary.when import HEIGHTS, SECONDS, UNITS, When
from consensus.faults.options import LONGEST, SMALLEST, indices, number, shown

MOST_HEIGHTS = 2**31
"""Greatest height that is named; a run has fewer rounds."""
PLACEMENTS = ("random", "most_stake", "least_stake", "region")
OPTIONS = ("behaviour", "share", "servers", "placement", "from", "until", "each", "by")
HONEST = Behaviour.name
"""The name of no behaviour, in turn with others."""


class Group(NamedTuple):
    """A group of malicious servers, as an entry of ``malicious`` describes it (see the module)."""

    names: tuple[str, ...]
    share: Fraction | None
    """Exact: a decimal is taken as written, not as its binary neighbour."""
    servers: tuple[int, ...]
    placement: str
    when: When
    in_turn: bool
    """True if the behaviours apply one after the other."""

    @property
    def spans(self) -> list[tuple[tuple[str, ...], When]]:
        """Behaviours that apply together, and when."""
        if not self.in_turn:
            return [(self.names, self.when)]
        turns = self.when.taking_turns(len(self.names))
        return [((name,), when) for name, when in zip(self.names, turns, strict=True)]

    @classmethod
    def from_node(cls, node: Any) -> Group:
        """The group that an entry of a config's ``malicious`` describes.

        Raises ValueError, in one line that says what is allowed.
        """
        if not isinstance(node, Mapping):
            raise ValueError(
                "a group of malicious servers is a map such as "
                f"{{behaviour: [gaussian, invert_votes], share: 1/3}}, got {shown(node)}"
            )
        for key in node:
            if key not in OPTIONS:
                near = get_close_matches(str(key), OPTIONS, 1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                raise ValueError(
                    f"malicious: there is no option {key!r}{hint}, allowed are {', '.join(OPTIONS)}"
                )
        if ("share" in node) == ("servers" in node):
            raise ValueError("malicious: give either a share of the servers, or servers by index")
        if "servers" in node and "placement" in node:
            raise ValueError("malicious: placement is for a share; servers by index are placed")
        servers: tuple[int, ...] = ()
        if "servers" in node:
            if not isinstance(node["servers"], list | tuple):
                raise ValueError(
                    f"malicious.servers: expected a list of indices, got {shown(node['servers'])}"
                )
            servers = indices(node["servers"], "malicious.servers")
        placement = _one_of(node, "placement", PLACEMENTS)
        in_turn = "each" in node
        names = _names(node.get("behaviour"), (HONEST,) if in_turn else ())
        return cls(names, _share(node.get("share")), servers, placement, _when(node), in_turn)


def _share(share: Any) -> Fraction | None:
    if share is None:
        return None
    number(share, "malicious.share", "a share, from 0 to 1", lambda x: 0.0 <= x <= 1.0)
    above, _, below = str(share).partition("/")
    return Fraction(above.strip()) / Fraction(below.strip() or 1)


def _one_of(node: Mapping[str, Any], key: str, names: Sequence[str]) -> str:
    """The option ``key``, by default the first of ``names``."""
    value = node.get(key, names[0])
    if value not in names:
        raise ValueError(f"malicious.{key}: expected one of {', '.join(names)}, got {shown(value)}")
    return str(value)


def _when(node: Mapping[str, Any]) -> When:
    unit = _one_of(node, "by", UNITS)
    first = 1.0 if unit == HEIGHTS else 0.0
    from_, until, each = (
        _time(node, key, default, unit)
        for key, default in (("from", first), ("until", inf), ("each", inf))
    )
    if not from_ <= until:
        raise ValueError(f"malicious: until ({until}) comes before from ({from_})")
    return When(from_, until, unit, each)


def _names(value: Any, besides: Sequence[str]) -> tuple[str, ...]:
    """The names of behaviours, or of those allowed ``besides``."""
    names = [value] if isinstance(value, str) else value
    known = ", ".join([*besides, *sorted(BEHAVIOURS)])
    if not isinstance(names, list | tuple) or not names:
        raise ValueError(
            f"malicious.behaviour: expected one or several of {known}, got {shown(value)}"
        )
    for name in names:
        if not isinstance(name, str) or (name not in BEHAVIOURS and name not in besides):
            near = get_close_matches(str(name), BEHAVIOURS, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise ValueError(
                f"malicious.behaviour: there is no {shown(name)}{hint}, known are {known}"
            )
    return tuple(names)


def _time(node: Mapping[str, Any], key: str, default: float, unit: str) -> float:
    """The option ``key``: a height or a number of heights, or simulated seconds."""
    if key not in node:
        return default
    value = node[key]
    if unit == SECONDS:
        least = SMALLEST if key == "each" else 0.0
        allowed = f"simulated seconds, from {least:g} to {LONGEST:g}"
        return number(value, f"malicious.{key}", allowed, lambda x: least <= x <= LONGEST)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_HEIGHTS:
        what = "a number of heights" if key == "each" else "a height"
        raise ValueError(
            f"malicious.{key}: expected {what}, from 1 to {MOST_HEIGHTS}, got {shown(value)}"
        )
    return value


def assign(
    nodes: Sequence[Any],
    servers: int,
    stakes: Sequence[int],
    regions: Sequence[int],
    generator: np.random.Generator,
) -> dict[int, Behaviour]:
    """The behaviours of the malicious servers, by ascending index, from a config's groups.

    ``stakes`` and ``regions`` are those of the ``servers``, by index; ``generator`` draws what is
    left to chance. Raises ValueError, in one line that says what is allowed.
    """
    groups = [Group.from_node(node) for node in nodes]
    named = {server for group in groups for server in group.servers}
    beyond = [server for server in sorted(named) if server >= servers]
    if beyond:
        raise ValueError(f"malicious.servers: there is no server {beyond[0]}, only 0-{servers - 1}")
    free = [server for server in range(servers) if server not in named]
    found: list[tuple[Group, Sequence[int]]] = []
    for group in groups:
        chosen: Sequence[int] = group.servers
        if group.share is not None:
            count = int(group.share * servers)
            if count > len(free):
                raise ValueError(
                    f"malicious: {count} servers are asked for where {len(free)} of {servers} "
                    "are left"
                )
            chosen = _placed(group.placement, free, stakes, regions, generator)[:count]
            free = [server for server in free if server not in chosen]
        found.append((group, chosen))
    circle = Circle(
        frozenset(server for _, chosen in found for server in chosen), tuple(map(int, regions))
    )
    assigned: dict[int, Composed] = {}
    for group, chosen in found:
        for server in chosen:
            composed = assigned.setdefault(server, Composed((), circle=circle))
            for names, when in group.spans:
                composed.add([name for name in names if name != HONEST], when)
    return dict(sorted(assigned.items()))


def _placed(
    placement: str,
    free: Sequence[int],
    stakes: Sequence[int],
    regions: Sequence[int],
    generator: np.random.Generator,
) -> list[int]:
    """The ``free`` servers in the order in which a placement takes them; ties by lot."""
    drawn = [int(server) for server in generator.permutation(free)]
    if placement == "most_stake":
        return sorted(drawn, key=lambda server: -stakes[server])
    if placement == "least_stake":
        return sorted(drawn, key=lambda server: stakes[server])
    if placement == "region":
        order = [int(region) for region in generator.permutation(sorted(set(map(int, regions))))]
        return sorted(drawn, key=lambda server: order.index(int(regions[server])))
    return drawn


def acts(behaviours: Iterable[Behaviour]) -> Counter[str]:
    """Number of dishonest acts of several servers' behaviours, by name (`Behaviour.acted`)."""
    total: Counter[str] = Counter()
    for each in behaviours:
        total.update(each.acted)
    return total
