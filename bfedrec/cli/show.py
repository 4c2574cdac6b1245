"""`bfedrec show RUN [HEIGHT]`: what a run, or a block of its chain, is, as text.

The facts are those of the pages of `bfedrec serve`, read beside a run that goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from bfedrec.cli.status import CHECK_FAILED
from bfedrec.explorer.block import block_facts
from bfedrec.explorer.catalogue import Catalogue, Run, State
from bfedrec.explorer.chain import CHAIN, RunChain
from bfedrec.explorer.facts import BlockFacts, ChainSummary
from bfedrec.explorer.moves import Moves, MovesOf
from bfedrec.explorer.places import Places
from bfedrec.explorer.timeline import Timeline
from bfedrec.runs.folder import RunError
from consensus.simulation.timeline import HeightTimeline

WIDTH = 28
"""Characters of the column of names."""
MOST_ROWS = 12
"""Updates and draws that are listed; `--all` lists every one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bfedrec show`."""
    parser.add_argument("run", metavar="RUN", type=Path, help="a run folder, or a chain.sqlite")
    parser.add_argument(
        "height", metavar="HEIGHT", type=int, nargs="?", help="a block, from 1 (default: the run)"
    )
    parser.add_argument(
        "--all", action="store_true", help=f"list all updates and draws, not the first {MOST_ROWS}"
    )
    parser.set_defaults(handler=lambda parsed: show_command(parsed.run, parsed.height, parsed.all))


def show_command(run: Path, height: int | None = None, everything: bool = False) -> int:
    """Print the facts of a run, or of the block at a height; return 0, or `CHECK_FAILED` for a
    block of which something does not hold.

    Raises `RunError` and `consensus.storage.content.StoreError`, one line, for a run that cannot
    be read, and `consensus.storage.content.Busy` where it is being written too fast.
    """
    if not run.exists():
        raise RunError(f"{run}: no such run")
    if height is None:
        _print(_run_lines(run))
        return 0
    path = run / CHAIN if run.is_dir() else run
    if not path.exists():
        raise RunError(f"{run}: has no chain")
    chain = RunChain(path)
    last = chain.last_height()
    if not 1 <= height <= last:
        raise RunError(f"{path}: no block of height {height}: the chain has 1 to {last}")
    facts, moves = block_facts(chain, height), MovesOf().at(chain, height)
    timeline = _timeline(run, height)
    most = max(facts.count, len(facts.draws)) if everything else MOST_ROWS
    _print(_block_lines(facts, moves, timeline, most))
    return CHECK_FAILED if facts.problems else 0


def _timeline(run: Path, height: int) -> HeightTimeline | None:
    try:
        return Timeline(run).height(height) if run.is_dir() else None
    except RunError:
        return None  # runs of earlier versions have none


Line = str | tuple[str, object]
"""A heading, or a name and its value."""


def _print(lines: Iterator[Line]) -> None:
    for line in lines:
        if isinstance(line, str):
            print(_plain(line))
        else:
            name, value = line
            print(f"  {_plain(name):<{WIDTH}} {_plain(str(value))}")


def _plain(text: str) -> str:
    """A text without characters that a terminal obeys, or has no bytes for."""
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    encoding = sys.stdout.encoding or "utf-8"
    return shown.encode(encoding, "replace").decode(encoding)


# -- a run -----------------------------------------------------------------------------------------


def _run_lines(run: Path) -> Iterator[Line]:
    path = run / CHAIN if run.is_dir() else run
    if run.is_dir():
        whole = run.resolve()
        try:
            found = Catalogue(Places(whole, single=True)).run(whole.name)
        except RunError as error:
            raise RunError(f"{run}: {error}") from None
        yield f"{run}: {_state(found)}"
        if found.state is not State.IMPORTED:
            yield from _config_lines(run)
            yield from _figure_lines(found)
    if path.exists():
        yield from _chain_lines(path, RunChain(path).summary())
    else:
        yield "chain: none"


def _state(run: Run) -> str:
    told = f": {run.told}" if run.told else ""
    if not run.options.rounds:
        return f"{run.state.value}{told}"
    unit = "rounds" if run.options.protocol else "epochs"
    return f"{run.state.value}, {run.done} of {run.options.rounds} {unit}{told}"


def _config_lines(run: Path) -> Iterator[Line]:
    from bfedrec.config.load import config_hash, departures
    from bfedrec.explorer.comparison import config_of

    config = config_of(run)
    yield "config: what differs from the defaults"
    for key, value, _ in departures(config):
        yield key, value if isinstance(value, str) else json.dumps(value)
    yield "hash", config_hash(config)


def _figure_lines(run: Run) -> Iterator[Line]:
    if not run.figures:
        return
    yield "figures: of test items at the end" if run.ended else "figures: so far"
    for name, value in run.figures.items():
        yield name, f"{value:,}" if isinstance(value, int) else value


def _chain_lines(path: Path, chain: ChainSummary) -> Iterator[Line]:
    yield f"chain: {path}"
    yield "blocks", f"{chain.height:,}"
    yield "head", chain.head + ("" if chain.head_named else " (not the one that the file names)")
    yield "genesis", chain.genesis
    crypto = ", crypto modelled: signatures and proofs show nothing" if chain.modelled else ""
    yield "protocol", f"{chain.protocol}{crypto}"
    yield "servers", f"{chain.servers:,}"
    yield "clients", f"{chain.clients:,}"
    yield "committee", f"{chain.committee}, {chain.committee_size}"
    yield "timestamp of the head", f"{chain.timestamp_us / 1e6:,.3f} s"
    kept = "none are there" if chain.kept is None else "heights {} to {}".format(*chain.kept)
    yield "updates kept", f"{chain.policy or 'as its writer chose'}; {kept}"
    yield "bytes", f"{chain.file_bytes:,}"


# -- a block ---------------------------------------------------------------------------------------


def _block_lines(
    block: BlockFacts, moves: Moves, timeline: HeightTimeline | None, most: int
) -> Iterator[Line]:
    yield f"block {block.height} of {block.last}"
    yield "header", block.cid
    yield "parent", block.parent
    yield "timestamp", f"{block.timestamp_us / 1e6:,.6f} s, {block.took_us / 1e6:,.6f} s later"
    yield "proposed by", f"server {block.aggregator}, attempt {block.attempt}, step {block.step}"
    yield "updates", f"{block.count:,}, {block.samples:,} samples; root {block.updates_root}"
    yield "bytes", f"{block.encoded_bytes:,}"
    if block.modelled:
        yield "crypto", "modelled: signatures and proofs show nothing"
    yield from _model_lines(block, moves)
    yield from _vote_lines(block)
    yield from _attempt_lines(block, timeline)
    yield from _draw_lines(block, most)
    yield from _update_lines(block, most)
    yield "verified here"
    for each in block.checked:
        yield "holds", each
    for each in block.problems:
        yield "DOES NOT HOLD", each


def _model_lines(block: BlockFacts, moves: Moves) -> Iterator[Line]:
    yield "model"
    for name, content in (("aggregate", block.model), ("snapshot of Q", block.snapshot)):
        if content is not None:
            told = content.told if content.bytes is None else f"{content.bytes:,} bytes"
            yield name, f"{content.cid}, {told}"
    if moves.told:
        yield "move of Q", f"not known: {moves.told}"
        return
    yield "move of Q", f"norm {moves.norm:.6g}, {moves.moved:,} of {moves.items:,} rows moved"
    yield "moved most", ", ".join(f"row {each.item} by {each.length:.4g}" for each in moves.most)


def _vote_lines(block: BlockFacts) -> Iterator[Line]:
    yield f"vote: {block.phase} phase of attempt {block.decided_attempt}, step {block.decided_step}"
    yield "weight", f"{block.weight:,} of {block.total:,}; {block.needed:,} or more decide (> 2/3)"
    voted = [seat for seat in block.seats if seat.voted]
    yield "signed", _servers([(seat.server, seat.weight) for seat in voted])
    silent = [(seat.server, seat.weight) for seat in block.seats if not seat.voted]
    yield "seated, did not sign", _servers(silent)


def _servers(found: list[tuple[int, int]]) -> str:
    return ", ".join(f"{server} ({weight})" for server, weight in found) or "none"


def _attempt_lines(block: BlockFacts, timeline: HeightTimeline | None) -> Iterator[Line]:
    yield "attempts"
    for each in block.attempts:
        leader = "" if each.leader is None else f", server {each.leader}'s turn"
        yield f"attempt {each.attempt}, step {each.step}", f"{each.told}{leader}"
    if timeline is None:
        return
    for attempt in timeline.attempts:
        votes = ", ".join(f"{count} {phase}" for phase, count in attempt.votes.items())
        told = f"{attempt.ended}; votes: {votes or 'none'}; {attempt.timeouts} timeouts"
        yield f"attempt {attempt.attempt}, seen", told
    for event in timeline.events:
        if event.kind == "evidence":
            yield "evidence", f"against server {event.about}, {event.what} (server {event.server})"
    if timeline.figures is not None:
        yield "evidence in all", timeline.figures.evidence
        if timeline.figures.delay_us is not None:
            yield "greatest delay", f"{timeline.figures.delay_us / 1e6:.3f} s"


def _draw_lines(block: BlockFacts, most: int) -> Iterator[Line]:
    if block.draws_in is None:
        yield f"draws: {len(block.draws)}, public hashes"
    else:
        yield f"draws: {len(block.draws)}, in block {block.draws_in}, from seed {block.draws_seed}"
    for draw in block.draws[:most]:
        proof = "no proof needed" if not draw.proof else f"proof {draw.proof}"
        told = "holds" if draw.valid else f"does not hold: {draw.told}"
        output = f"output {draw.output}; " if draw.output else ""
        yield f"server {draw.server}, weight {draw.weight}", f"{told}; {output}{proof}"
    if len(block.draws) > most:
        yield "and", f"{len(block.draws) - most} more (--all)"


def _update_lines(block: BlockFacts, most: int) -> Iterator[Line]:
    yield f"updates: {len(block.updates)} of {block.count} kept"
    for each in block.updates[:most]:
        size = "no payload" if each.bytes is None else f"{each.bytes:,} bytes"
        told = "fit" if each.valid else f"NOT FIT: {each.told}"
        name = each.key[:16] if each.client is None else f"client {each.client}"
        yield (
            name,
            f"{each.samples:,} of {each.registered:,} samples, {size}, digest {each.digest}, "
            f"payload {each.payload}; {told}",
        )
    if len(block.updates) > most:
        yield "and", f"{len(block.updates) - most} more (--all)"
