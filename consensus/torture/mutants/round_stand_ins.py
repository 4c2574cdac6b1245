"""Stand-ins for functions of `tendermint` while a rule is switched off
(`consensus.torture.mutants.tendermint_breaks`): each function here takes the original and returns
its stand-in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from consensus.protocols.tendermint import vote as tendermint
from consensus.protocols.tendermint.state import NEVER, PREVOTE, STEPS, Schedule
from consensus.records.votes import NIL
from consensus.torture.mutants.patch import StandIn


def unlocked(original: Any) -> Any:
    """`_line_22` or `_line_28` of a server that keeps to no lock."""

    def rule(context: Any, state: Any) -> Any:
        promises = state.promises
        found = original(context, replace(state, promises=replace(promises, locked=NEVER)))
        if found is None:
            return None
        after = replace(found[0].promises, locked=promises.locked)
        return replace(found[0], promises=after), found[1]

    return rule


def precommits_what_it_prevoted(original: Any) -> Any:
    """`_line_36` of a server that precommits whatever it has prevoted."""

    def rule(context: Any, state: Any) -> Any:
        round, block = state.promises.prevote
        if state.step == PREVOTE and round == state.round and block != NIL:
            promises = replace(state.promises, locked=(round, block))
            return tendermint._precommit(context, replace(state, promises=promises), block)
        return original(context, state)

    return rule


def quorum_of_any_rounds(original: Any) -> Any:
    """`_line_36` to which the prevotes of all rounds for a block count together."""

    def rule(context: Any, state: Any) -> Any:
        round, block = state.promises.prevote
        if state.step != PREVOTE or round != state.round or block == NIL:
            return original(context, state)
        servers = 0
        for (phase, _, named), tally in state.votes.items():
            if phase == STEPS[PREVOTE] and named == block:
                servers |= tally.servers
        weights = context.committee.weights
        weight = sum(weights[server] for server in weights if servers >> server & 1)
        if not context.committee.approves(weight):
            return original(context, state)
        promises = replace(state.promises, locked=(round, block))
        return tendermint._precommit(context, replace(state, promises=promises), block)

    return rule


def without_timer(what: str) -> StandIn:
    """`TendermintParticipant._do` that schedules no timer of a step."""

    def make(original: Any) -> Any:
        def do(self: Any, effect: Any) -> None:
            if not (isinstance(effect, Schedule) and effect.what == what):
                original(self, effect)

        return do

    return make


def without_first_timer(original: Any) -> Any:
    """`TendermintParticipant.schedule` without OnTimeoutPropose."""

    def schedule(self: Any, what: str, round: int) -> None:
        if what != STEPS[0]:
            original(self, what, round)

    return schedule


def timers_of_round_0(original: Any) -> Any:
    """`TendermintParticipant.schedule` whose timers do not grow."""

    def schedule(self: Any, what: str, round: int) -> None:
        whole = self.server.parameters.vote_us
        part = 1 if what == STEPS[0] else 3
        self.server.set_timer(what, whole // part, (round, 0))

    return schedule


def forgets_its_value(original: Any) -> Any:
    """`Proposals.propose_if_due` of a proposer that proposes a new value in every round."""

    def propose_if_due(self: Any) -> None:
        vote = self._vote
        state = vote.state
        vote.state = replace(state, promises=replace(state.promises, valid=None))
        try:
            original(self)
        finally:
            if vote.state.promises.valid is None and state.promises.valid is not None:
                promises = replace(vote.state.promises, valid=state.promises.valid)
                vote.state = replace(vote.state, promises=promises)

    return propose_if_due
