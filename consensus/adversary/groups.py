"""Groups of malicious servers: which servers they are, their behaviours, and their heights.

In a config ``malicious`` is a list of groups of servers, each a map:

    =========== ============== ====================================================================
    option      default        meaning
    =========== ============== ====================================================================
    behaviour                  a name, or a list of names applied in order (``BEHAVIOURS``)
    share                      how many servers: a share of all, such as 0.1 or "1/3", rounded
                               down
    servers                    or which ones, by index
    placement   random         the order in which a share is dealt: ``random``; ``most_stake`` or
                               ``least_stake`` first; ``region``: one region by lot, then the next
    from        1              the first height at which they are malicious
    until       for ever       the last one
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
from consensus.faults.options import indices, number, shown

MOST_HEIGHTS = 2**31
"""Greatest height that is named; a run has fewer rounds."""
PLACEMENTS = ("random", "most_stake", "least_stake", "region")


class Group(NamedTuple):
    """A group of malicious servers, as an entry of ``malicious`` describes it (see the module)."""

    names: tuple[str, ...]
    share: Fraction | None
    """Exact: a decimal is taken as written, not as its binary neighbour."""
    servers: tuple[int, ...]
    placement: str
    from_: float
    until: float

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
        options = ("behaviour", "share", "servers", "placement", "from", "until")
        for key in node:
            if key not in options:
                near = get_close_matches(str(key), options, 1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                raise ValueError(
                    f"malicious: there is no option {key!r}{hint}, allowed are {', '.join(options)}"
                )
        if ("share" in node) == ("servers" in node):
            raise ValueError("malicious: give either a share of the servers, or servers by index")
        if "servers" in node and "placement" in node:
            raise ValueError("malicious: placement is for a share; servers by index are placed")
        share = node.get("share")
        if share is not None:
            number(share, "malicious.share", "a share, from 0 to 1", lambda x: 0.0 <= x <= 1.0)
            above, _, below = str(share).partition("/")
            share = Fraction(above.strip()) / Fraction(below.strip() or 1)
        servers: tuple[int, ...] = ()
        if "servers" in node:
            if not isinstance(node["servers"], list | tuple):
                raise ValueError(
                    f"malicious.servers: expected a list of indices, got {shown(node['servers'])}"
                )
            servers = indices(node["servers"], "malicious.servers")
        placement = node.get("placement", "random")
        if placement not in PLACEMENTS:
            raise ValueError(
                f"malicious.placement: expected one of {', '.join(PLACEMENTS)}, "
                f"got {shown(placement)}"
            )
        from_, until = _height(node, "from", 1), _height(node, "until", inf)
        if not from_ <= until:
            raise ValueError(f"malicious: until ({until}) comes before from ({from_})")
        return cls(_names(node.get("behaviour")), share, servers, placement, from_, until)


def _names(value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names:
        known = ", ".join(sorted(BEHAVIOURS))
        raise ValueError(
            f"malicious.behaviour: expected one or several of {known}, got {shown(value)}"
        )
    for name in names:
        if not isinstance(name, str) or name not in BEHAVIOURS:
            near = get_close_matches(str(name), BEHAVIOURS, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            known = ", ".join(sorted(BEHAVIOURS))
            raise ValueError(
                f"malicious.behaviour: there is no {shown(name)}{hint}, known are {known}"
            )
    return tuple(names)


def _height(node: Mapping[str, Any], key: str, default: float) -> float:
    if key not in node:
        return default
    value = node[key]
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_HEIGHTS:
        raise ValueError(
            f"malicious.{key}: expected a height, from 1 to {MOST_HEIGHTS}, got {shown(value)}"
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
            if server in assigned:
                assigned[server].add(group.names, group.from_, group.until)
            else:
                assigned[server] = Composed(group.names, group.from_, group.until, circle)
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
