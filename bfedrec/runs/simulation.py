"""A run from its config to its summary: play the rounds, save what a resume needs, score.

The order of writing makes SIGKILL harmless: first the run's private state (RUN/state.sqlite, one
row per height) and the height's timeline (RUN/timeline.jsonl), then, in one transaction, the chain
(RUN/chain.sqlite), then the metrics. The chain's height is authoritative: a resume drops what other
files have beyond it and plays on from there, to the same bytes, because every draw depends on its
height alone. Without a barrier (`ledger.barrier`) the servers' messages under way are nowhere
written down: a resume begins after the last height after which servers met, and plays the heights
that the chain has from there once more, each of which must give the block that is there.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable

from bfedrec.config.schema import Config
from bfedrec.config.servers import MODELLED_CRYPTO
from bfedrec.data.prepare import prepare
from bfedrec.federation.adversary import beyond_premise, warnings
from bfedrec.federation.federation import Federation
from bfedrec.federation.protection import spent
from bfedrec.federation.round import Round
from bfedrec.runs.chain_writer import ChainWriter
from bfedrec.runs.delay import GreatestDelay, too_slow
from bfedrec.runs.figures import Figures, Scalar
from bfedrec.runs.folder import RunFolder
from bfedrec.runs.interpreter import collecting_seldom, switching_often
from bfedrec.runs.memory import check_memory
from bfedrec.runs.message_trace import MessageTrace
from bfedrec.runs.messages import is_traced
from bfedrec.runs.pace import Pace
from bfedrec.runs.privacy import own_figures
from bfedrec.runs.progress import Note, RoundDone, Watcher
from bfedrec.runs.reporting import Reporting, check_selectable
from bfedrec.runs.state import RoundState, RunState, StateError
from bfedrec.runs.timelines import append_timeline, cut_timelines
from bfedrec.runs.totals import Totals
from consensus.encoding.cid import cid_text
from consensus.network.traced import TracedNetwork
from consensus.simulation.results import Forked, Stalled
from consensus.simulation.timeline import HeightTimeline
from consensus.storage.closing import Closing


class Simulation(Closing):
    """One run in progress."""

    def __init__(
        self, config: Config, folder: RunFolder, progress: Watcher, traced: bool = False
    ) -> None:
        """``traced``: write a message trace, as a run that was begun with one does anyway."""
        self.config = config
        self.folder = folder
        self.progress = progress
        self.began = time.perf_counter()
        self.data = prepare(config.data)
        check_memory(config, self.data)
        check_selectable(config, self.data)
        folder.start(self.data.digest, self.data.places_digest)
        self.state: RunState = folder.state()
        traced = traced or is_traced(folder.path)
        self.trace = MessageTrace(folder.path) if traced else None
        self.federation = Federation(
            config, self.data, self.state.residuals, folder.path, book=self.trace
        )
        self.reporting = Reporting(folder, self.federation.learner, progress.update)
        self.chain = ChainWriter(config, folder, lambda line: progress.update(Note(line)))
        self.pace = Pace(self.federation.cohorts.processor_seconds)
        self.totals = Totals()
        self.loss: float | None = None
        self.now = 0.0
        """The simulated time, in seconds, at which the last height was done."""
        self.wall_before = 0.0
        self._warned = False
        """True once it was told that a committee was beyond the premise."""
        self._played_before = 0
        """The height up to which heights are played once more; the files have them."""
        self._told = 0
        """The height of the last timeline that is written."""
        self.rounds_here = 0
        """Number of rounds played by this process; a resumed run reports the speed of its last
        part."""

    def close(self) -> None:
        """Close the files; all that was written stays."""
        self.federation.close()
        self.chain.close()
        self.state.close()

    def run(self, resume: bool) -> Figures:
        """Play the remaining rounds; return the summary.

        A run that cannot go on leaves a summary too: RUN/stopped.json, with its results until then,
        the height and the reason.
        """
        self.folder.clear_stop()
        if self.config.crypto == "modelled":
            self.progress.update(Note(MODELLED_CRYPTO))
        for line in warnings(self.config):
            self.progress.update(Note(line))
        height = self._resume() if resume else None
        if height is None:
            height = 0
            self.state.discard_after(0)
            self.folder.cut_metrics(0)
            self._told = cut_timelines(self.folder.path, 0)
            self._trace_after(0)
            self.chain.begin(self.federation)
        with collecting_seldom(), switching_often():
            try:
                self._play(height)
            except (Stalled, Forked) as end:
                self.folder.write_stop(self._stopped(end))
                raise
        self.chain.finish()
        if self.trace is not None:
            self._end_trace(self.trace)
        height = self.federation.world.head.height
        return {**self._finish(height), **own_figures(self.folder.path, self.config, self.data)}

    def _play(self, height: int) -> None:
        """Play the rounds after ``height``."""
        while height < self._played_before or (
            height < self.config.rounds and not self.reporting.ends_early(height)
        ):
            with self.pace.round():
                played = self.federation.play_round()
                height = played.height
                self.rounds_here += 1
                self._count(played)
                if height > self._played_before:
                    self._record(played)
                else:
                    self._check_again(played)
            self.progress.update(
                RoundDone(
                    height,
                    len(played.clients),
                    played.result.block.certificate.attempt + 1,
                    self.federation.world.env.now,
                    self._traffic(played),
                )
            )
            if self.reporting.is_due(height):
                if height > self._played_before or not self.reporting.has_line(height):
                    self._validate(height)
                gc.collect()
                gc.freeze()  # what is left lives on: the next one need not look at it

    # -- a round's traces -------------------------------------------------------------------------

    def _count(self, played: Round) -> None:
        self.totals = self.totals.after(played, self.federation.world.faults)
        self.loss = played.loss
        self.now = self.federation.world.env.now

    def _completed(self, played: Round) -> list[HeightTimeline]:
        """The timelines that are complete after a round."""
        return self.federation.recorder.completed(played.result, self._meets(played.height))

    def _tell(self, timelines: Iterable[HeightTimeline]) -> None:
        """Append timelines, but those that were written before a resume."""
        for timeline in timelines:
            if timeline.height > self._told:
                append_timeline(self.folder.path, timeline)
                self._told = timeline.height

    def _check_again(self, played: Round) -> None:
        """Raise StateError if a round that was played once more gave another block than before."""
        self._tell(self._completed(played))
        self._end_traced_height(played.height)
        if played.result.block.cid != self.chain.block(played.height).cid:
            raise StateError(
                f"{self.folder.path}: height {played.height}, played once more from the last "
                "checkpoint, gives another block than the chain has; state.sqlite is not that of "
                "this chain, or another version of bfedrec wrote it: start anew in another folder"
            )

    def _record(self, played: Round) -> None:
        wall = self.wall_before + time.perf_counter() - self.began
        row = RoundState(
            played.height,
            played.clients,
            played.factors,
            self.now,
            wall,
            played.loss,
            self.totals,
            self.federation.standing(),
        )
        self.state.append(row, played.residuals)
        self._tell(self._completed(played))
        self._end_traced_height(played.height)
        self.chain.write(played)
        if played.result.captured:
            certificate = played.result.block.certificate
            self.progress.update(
                Note(
                    f"height {played.height}: malicious servers captured the committee of attempt "
                    f"{certificate.attempt + 1}; the aggregate is not that of the updates"
                )
            )
        warning = None if self._warned else beyond_premise(played.result)
        if warning is not None:
            self._warned = True
            self.progress.update(Note(warning))

    def _trace_after(self, height: int) -> None:
        if self.trace is not None:
            self.trace.begin_after(height)

    def _meets(self, height: int) -> bool:
        """True if no server goes on after a height before all have its block."""
        return height % self.config.ledger.meets_every == 0

    def _end_traced_height(self, height: int) -> None:
        if self.trace is not None:
            network = self._traced_network()
            if self._meets(height) or height == self.config.rounds:
                network.close_epoch()
            else:
                network.hand_in()
            self.trace.end_height()

    def _end_trace(self, trace: MessageTrace) -> None:
        height = self.federation.world.head.height
        if height < self.config.rounds and not self._meets(height):
            # It was the last height only once it was scored, and messages were still on their way.
            trace.reopen()
            self._traced_network().close_epoch()
            trace.end_height()
        trace.finish()

    def _traced_network(self) -> TracedNetwork:
        network = self.federation.world.network
        assert isinstance(network, TracedNetwork)
        return network

    def _traffic(self, played: Round) -> int:
        """Bytes of a round: up, down by the account that counts, and between servers."""
        down = played.downlink_bytes[self.config.clients.downlink]
        return played.uplink_bytes + down + sum(played.result.gossip_bytes.values())

    def _validate(self, height: int) -> None:
        """Score the validation items and append the metrics of this height."""
        wall = self.wall_before + time.perf_counter() - self.began
        clock = {"simulated_seconds": self.now, "wall_seconds": wall}
        self.reporting.validate(height, self.loss, {**self._flat_totals(), **clock})

    # -- resume -----------------------------------------------------------------------------------

    def _resume(self) -> int | None:
        """Bring all files to the state after the chain's last block, and the federation to that
        after the last height after which servers met; return that height, None if there is no
        chain."""
        height = self.chain.height
        if height < 0:
            return None
        federation = self.federation
        if self.state.last_height < height:
            raise StateError(
                f"{self.folder.path}: the chain has height {height}, but state.sqlite only "
                f"{self.state.last_height}; restore it, or start anew in another folder"
            )
        met = height - height % self.config.ledger.meets_every
        blocks, heads = self.chain.verified(federation.genesis, met)
        self.state.discard_after(height)
        self.folder.cut_metrics(height)
        self._told = cut_timelines(self.folder.path, height)
        self._trace_after(met)
        for at, (block, head) in enumerate(zip(blocks, heads, strict=False), 1):
            aggregate = self.chain.content.get(block.header.aggregate_cid)
            if at == met:
                federation.recall(head)
            federation.learner.model.commit(at, head.beacon, aggregate)
            row = self._row(at)
            federation.learner.P[row.clients] = row.factors
            federation.downlink.committed(
                at, row.clients, len(block.header.encoded), len(aggregate)
            )
        self.chain.resume(height)
        self._played_before = height
        if height:
            self.wall_before = self._row(height).wall_seconds
        if met:
            row = self._row(met)
            self.totals = row.totals
            federation.continue_from(
                row.simulated_seconds, blocks, heads, row.standing, self.chain.content.get
            )
            self.loss = row.loss
            self.now = row.simulated_seconds
            if self.reporting.is_due(met) and not self.reporting.has_line(met):
                self._validate(met)
        again = f", from the checkpoint after height {met}" if met < height else ""
        self.progress.update(Note(f"resumed after height {height}{again}"))
        return met

    def _row(self, height: int) -> RoundState:
        """The state's row of a height; raises StateError if it is that of another run."""
        row, P = self.state.row(height), self.federation.learner.P
        inside = row.clients.size == 0 or 0 <= row.clients.min() <= row.clients.max() < len(P)
        if not inside or (row.clients.size and row.factors.shape[1] != P.shape[1]):
            raise StateError(
                f"{self.folder.path}: state.sqlite: height {height} does not fit P {P.shape}"
            )
        try:
            row.standing.check(self.config.servers.count, height)
        except ValueError as error:
            raise StateError(
                f"{self.folder.path}: state.sqlite: height {height}: {error}"
            ) from None
        return row

    # -- the end ----------------------------------------------------------------------------------

    def _finish(self, asked: int) -> dict[str, Scalar]:
        """Report the test items of the round that `evaluation.select` names; return the summary.
        ``asked``: the number of rounds whose updates were sent."""
        federation = self.federation
        self._tell(federation.recorder.rest())
        rounds = federation.world.head.height
        scored = self.reporting.finish(rounds)
        here = time.perf_counter() - self.began
        trained = self.rounds_here * self.config.clients.present
        training_seconds = federation.learner.training_seconds
        return {
            **scored,
            "rounds": rounds,
            "head": cid_text(federation.world.head.cid),
            "simulated_seconds": federation.world.env.now,
            "wall_seconds": self.wall_before + here,
            "clients_per_second": trained / here,
            "training_clients_per_second": (
                trained / training_seconds if training_seconds else 0.0
            ),
            **self.pace.figures(),
            **spent(self.config, self.data.users, asked),
            "malicious_stake_share": federation.participants.malicious_stake_share(),
            **self._flat_totals(),
            **self._warnings(),
            **{
                f"gossip_bytes_{kind}": size
                for kind, size in self.totals.gossip_bytes_by_kind.items()
            },
        }

    def _stopped(self, end: Stalled | Forked) -> Figures:
        """Score the model of a run whose servers cannot agree on another block; return its
        summary."""
        height = self.federation.world.head.height
        if not self.reporting.has_line(height):
            self._validate(height)
        how: dict[str, Scalar] = {"stopped": "forked"}
        if isinstance(end, Stalled):
            how = {"stopped": "stalled", "stopped_attempts": end.attempts}
            self.totals = self.totals.after_stall(end, self.federation.world.spent().delay)
        told = self.federation.recorder.stopped(self.federation.world, end)
        self._tell([*self.federation.recorder.rest(), *([] if told is None else [told])])
        self._end_traced_height(self.config.rounds)
        if self.trace is not None:
            self.trace.finish()
        how |= {"stopped_at_height": end.height, "stopped_because": str(end)}
        return self._finish(min(height + 1, self.config.rounds)) | how

    def _warnings(self) -> dict[str, Scalar]:
        """Tell, and return, what the run broke of its protocol's premises."""
        delay = self.totals.part(GreatestDelay)
        warning = too_slow(delay, self.federation.genesis) if delay else ""
        self.folder.write_warnings([warning] if warning else [])
        if not warning:
            return {}
        self.progress.update(Note(f"WARNING: {warning}"))
        return {"delay_warning": warning}

    def _flat_totals(self) -> dict[str, Scalar]:
        return self.totals.figures(self.config.clients.downlink)


def run(
    config: Config, folder: RunFolder, resume: bool, progress: Watcher, traced: bool = False
) -> Figures:
    """Run ``config`` in ``folder`` to its end, from the start or from its last height, and write a
    message trace if it is ``traced``.

    Returns the summary. Raises errors that the command line prints as one line:
    `bfedrec.data.interactions.DataError`, `bfedrec.runs.state.StateError`,
    `consensus.storage.content.StoreError`, `bfedrec.learning.upload.Diverged`,
    `bfedrec.evaluation.metrics.NotFinite`, `bfedrec.runs.folder.RunError`,
    `consensus.simulation.results.Stalled`, `consensus.simulation.results.Forked`.
    """
    with Simulation(config, folder, progress, traced) as simulation:
        return simulation.run(resume)
