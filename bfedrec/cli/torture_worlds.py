"""The options of `bfedrec torture` that say what all scenarios are like."""

from __future__ import annotations

import argparse

from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError
from consensus.adversary.delays import DELAYS
from consensus.protocols.registry import DEFAULT, PROTOCOLS
from consensus.torture.arena.attackers import known_behaviours
from consensus.torture.arena.scenario import GOSSIP, PREMISES
from consensus.torture.campaign import Plan


def add_worlds(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say what all scenarios are like."""
    parser.add_argument(
        "--behaviours",
        metavar="NAME,...",
        default="",
        help="malicious servers do these besides what a seed draws, each with even chance; seeds "
        "alone draw none that came after the recorded campaigns, nor a plugin's",
    )
    _add_premises(parser)
    parser.add_argument(
        "--incentives",
        action="store_true",
        help="stake moves, over more heights, and malicious servers attack that, too",
    )
    parser.add_argument(
        "--adaptive",
        action="store_true",
        help="malicious servers are chosen in the course of a scenario, once a committee, a "
        "proposer or a vote is known (docs/adversaries.md)",
    )
    parser.add_argument(
        "--gossip",
        choices=GOSSIP,
        default=GOSSIP[0],
        help=f"how messages to all servers travel (default: {GOSSIP[0]}); a mesh is sparse, and "
        "repairs itself (docs/gossip.md)",
    )


def _add_premises(parser: argparse.ArgumentParser) -> None:
    """The options of worlds that are drawn otherwise."""
    parser.add_argument(
        "--premise",
        choices=PREMISES,
        default=PREMISES[0],
        help="draw less than a third of every committee malicious, and any faults (third, the "
        "default); or up to half of it, while an adversary chooses within a bound when messages of "
        "honest servers arrive (half)",
    )
    parser.add_argument(
        "--delays",
        choices=sorted(DELAYS),
        help="with --premise half: the strategy by which the adversary chooses when messages "
        "arrive (default: sides, that of the recorded campaigns)",
    )
    parser.add_argument(
        "--hard-crashes",
        action="store_true",
        help="servers crash when they have made a promise and sent nothing yet, and may find "
        "their promises unreadable",
    )


def check_worlds(parsed: argparse.Namespace) -> None:
    """Raise `ConfigError` for options that no scenario, or none of the protocol, can have."""
    if parsed.premise != PREMISES[0] and parsed.protocol != DEFAULT:
        raise ConfigError(f"{COMMAND_LINE}: --premise {parsed.premise}: a premise of {DEFAULT}")
    if parsed.delays is not None and parsed.premise != "half":
        raise ConfigError(f"{COMMAND_LINE}: --delays {parsed.delays}: only with --premise half")
    if parsed.incentives and not PROTOCOLS[parsed.protocol].moves_stake:
        raise ConfigError(f"{COMMAND_LINE}: --incentives: {parsed.protocol} moves no stake")
    if parsed.incentives and parsed.premise != PREMISES[0]:
        raise ConfigError(f"{COMMAND_LINE}: --incentives: only with --premise {PREMISES[0]}")
    if parsed.premise != PREMISES[0] and parsed.gossip != GOSSIP[0]:
        told = f"--gossip {parsed.gossip}: with --premise {parsed.premise} no server relays"
        raise ConfigError(f"{COMMAND_LINE}: {told}")
    if parsed.servers is not None and not 4 <= parsed.servers <= 64:
        raise ConfigError(f"{COMMAND_LINE}: --servers {parsed.servers}: expected int from 4 to 64")
    for name in parse_names(parsed.behaviours):
        if name not in known_behaviours():
            known = ", ".join(known_behaviours())
            raise ConfigError(f"{COMMAND_LINE}: --behaviours {name}: expected some of {known}")


def parse_names(text: str) -> tuple[str, ...]:
    """Names between commas, each once, sorted."""
    return tuple(sorted({name.strip() for name in text.split(",") if name.strip()}))


def plan_of(parsed: argparse.Namespace, rule: str | None) -> Plan:
    """The plan that the options ask for, with ``rule`` switched off."""
    return Plan(
        parsed.protocol,
        parsed.servers,
        rule,
        parse_names(parsed.behaviours),
        parsed.premise,
        parsed.hard_crashes,
        parsed.delays,
        parsed.incentives,
        parsed.gossip,
        parsed.adaptive,
    )
