"""Totals of a run over its rounds: plain numbers for its state, metrics and summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import isinf
from typing import Any

from bfedrec.federation.federation import Round
from consensus.faults.faults import Faults
from consensus.simulation.results import Stalled

NOTHING: Mapping[str, Any] = {
    "blocks": 0,
    "attempts": 0,
    "rebuilt_committees": 0,
    "steps": 0,
    "captured_blocks": 0,
    "committees": 0,
    "blocked_committees": 0,
    "captured_committees": 0,
    "closed_by_all": 0,
    "caught_up": 0,
    "uplink_bytes": 0,
    "downlink_bytes_broadcast": 0,
    "downlink_bytes_catch_up": 0,
    "gossip_messages": 0,
    "gossip_bytes_by_kind": {},
    "refused": {},
    "evidence": 0,
    "malicious_updates_by_attack": {},
    "malicious_updates_aggregated": 0,
}
"""The totals before the first round.

``committees`` are those whose members' weights are known (`HeightResult.malicious_weight`).
Malicious members *block* one when the others are not more than two thirds of its weight, and
*capture* it when they are. ``closed_by_all`` counts attempts that all servers gave up together,
``caught_up`` the blocks that servers which were behind appended late.
"""


def add(before: Mapping[str, Any], played: Round, faults: Faults | None) -> dict[str, Any]:
    """The totals after ``played``, from those before it."""
    result = played.result
    certificate = result.block.certificate
    more = {
        "blocks": 1,
        "attempts": certificate.attempt + 1,
        "rebuilt_committees": certificate.attempt,
        "steps": certificate.step + 1,
        "captured_blocks": int(result.captured),
        **_committees(result.malicious_weight),
        "closed_by_all": result.closed_by_all,
        "caught_up": result.caught_up,
        "uplink_bytes": played.uplink_bytes,
        **{f"downlink_bytes_{account}": size for account, size in played.downlink_bytes.items()},
        "gossip_messages": result.gossip_messages,
        "gossip_bytes_by_kind": result.gossip_bytes,
        "refused": result.refused,
        "evidence": len(result.evidence),
        "malicious_updates_by_attack": played.malicious,
        "malicious_updates_aggregated": played.malicious_aggregated,
    }
    totals = {
        name: _sum(before[name], amount) if isinstance(amount, Mapping) else before[name] + amount
        for name, amount in more.items()
    }
    return totals | _recovery(before, played, faults)


def add_stalled(before: Mapping[str, Any], stalled: Stalled) -> dict[str, Any]:
    """The totals with the committees of a height that was never decided.

    Without them blocked committees would seem rarer than they are.
    """
    more = _committees(stalled.malicious_weight)
    return {**before, **{name: before[name] + amount for name, amount in more.items()}}


def _committees(weights: Sequence[tuple[int, int]]) -> dict[str, int]:
    return {
        "committees": len(weights),
        "blocked_committees": sum(3 * (total - bad) <= 2 * total for bad, total in weights),
        "captured_committees": sum(3 * bad > 2 * total for bad, total in weights),
    }


def _sum(before: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    total = Counter(before)
    total.update(more)
    return dict(sorted(total.items()))


def _recovery(before: Mapping[str, Any], played: Round, faults: Faults | None) -> dict[str, Any]:
    """Times lost to faults; empty if there are no faults, or one that never ends.

    ``blocks_while_faulty`` counts the blocks decided from the first fault's beginning to the last
    one's end. From that end on, in simulated seconds: ``seconds_to_next_block`` until a server has
    a new block, ``seconds_until_level`` until the last of all servers has the newest one.
    """
    if faults is None or not faults.faults or isinf(faults.healed_at):
        return {}
    begins, healed = min(fault.from_ for fault in faults.faults), faults.healed_at
    appended = played.result.appended.values()
    decided, everywhere = min(appended), max(appended)
    faulty = before.get("blocks_while_faulty", 0) + int(begins <= decided < healed)
    reached = {"seconds_to_next_block": decided}
    if not played.behind:
        reached["seconds_until_level"] = everywhere
    found = {name: at - healed for name, at in reached.items() if at >= healed}
    kept = {name: value for name, value in before.items() if name.startswith("seconds_")}
    return {"blocks_while_faulty": faulty} | found | kept


def flat(totals: Mapping[str, Any], downlink: str) -> dict[str, Any]:
    """The totals under their names in the metrics and the summary.

    ``downlink`` names the one of the two accounts of the downlink that counts.
    """
    named = dict(totals)
    kinds, refused = named.pop("gossip_bytes_by_kind"), named.pop("refused")
    attacks = named.pop("malicious_updates_by_attack")
    return named | {
        "downlink_bytes": named[f"downlink_bytes_{downlink}"],
        "gossip_bytes": sum(kinds.values()),
        "refused_messages": sum(refused.values()),
        "malicious_updates": sum(attacks.values()),
    }
