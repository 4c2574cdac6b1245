"""Stand-ins for functions of `hotstuff` while a rule is switched off
(`consensus.torture.mutants.hotstuff_breaks`): each function here takes the original and returns its
stand-in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from consensus.protocols.hotstuff import vote as hotstuff
from consensus.protocols.hotstuff.state import PREPARE


def any_certificate(original: Any) -> Any:
    """`is_safe` to which a proposal with any prepareQC, however old, is safe."""
    return lambda promises, candidate: candidate.proof is not None or original(promises, candidate)


def locked_for_ever(original: Any) -> Any:
    """`is_safe` without its second half: a lock is never left."""
    return lambda promises, candidate: (
        promises.locked is None or candidate.header.cid == promises.locked.block
    )


def keeps_no_lock(original: Any) -> Any:
    """`_commit` that locks nothing."""

    def commit(context: Any, state: Any) -> Any:
        found = original(context, state)
        if found is None:
            return None
        promises = replace(found[0].promises, locked=state.promises.locked)
        return replace(found[0], promises=promises), found[1]

    return commit


def precommits_what_it_prepared(original: Any) -> Any:
    """`_precommit` of a server that waits for no prepareQC."""

    def precommit(context: Any, state: Any) -> Any:
        said = {phase: block for phase, _, block in state.promises.said}
        if PREPARE not in said or not hotstuff._may_vote(context, state, "precommit"):
            return original(context, state)
        return hotstuff._vote(state, "precommit", said[PREPARE])

    return precommit


def commits_what_is_prepared(original: Any) -> Any:
    """`_commit` of a server to which the prepareQC is enough: two phases instead of three."""

    def commit(context: Any, state: Any) -> Any:
        found = state.certificates.get(PREPARE)
        if found is None or not hotstuff._may_vote(context, state, "commit"):
            return None
        state = replace(state, promises=replace(state.promises, locked=found))
        return hotstuff._vote(state, "commit", found.block)

    return commit


def commits_unprepared(original: Any) -> Any:
    """`_commit` of a server that need not know the prepareQC of its view."""

    def commit(context: Any, state: Any) -> Any:
        known = {PREPARE: None, **state.certificates}
        found = original(context, replace(state, certificates=known))
        if found is None:
            return None
        return replace(found[0], certificates=state.certificates), found[1]

    return commit


def names_nothing(original: Any) -> Any:
    """`on_timer` after which the next leader is told of no prepareQC."""

    def on_timer(context: Any, state: Any, round: int) -> Any:
        prepared = state.promises.prepared
        bare = replace(state, promises=replace(state.promises, prepared=None))
        found, effects = original(context, bare, round)
        if found is bare:
            return state, effects
        return replace(found, promises=replace(found.promises, prepared=prepared)), effects

    return on_timer


def without_timers(original: Any) -> Any:
    """`HotStuffParticipant.schedule` that schedules nothing."""
    return lambda self, round: None


def timers_of_view_0(original: Any) -> Any:
    """`HotStuffParticipant.schedule` whose timers do not grow."""

    def schedule(self: Any, round: int) -> None:
        self.server.set_timer("view", 2 * self.server.parameters.vote_us, (round, 0))

    return schedule


def judged_as_new(original: Any) -> Any:
    """`RotationProposals.judge` that holds a block with a quorum behind it, too, to this server's
    clock and tickets."""

    def judge(self: Any, candidate: Any, proven: bool) -> None:
        server, block = self._server, candidate.header.cid
        timely = server.contents.is_timely(candidate.header)
        if proven and not (timely and self._tickets.are_all_in(candidate)):
            self._found(block, False, False)
        else:
            original(self, candidate, proven)

    return judge
