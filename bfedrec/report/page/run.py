"""The page of one run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath

from bfedrec.config.load import config_hash
from bfedrec.config.servers import MODELLED_CRYPTO
from bfedrec.plaintext import size
from bfedrec.report.page.drawing import course
from bfedrec.report.page.facts import FINISHED, STOPPED, UNFINISHED, RunFacts
from bfedrec.report.page.parts import (
    Block,
    Code,
    Drawing,
    Grid,
    Page,
    Section,
    Words,
    figure,
    grouped,
)
from bfedrec.runs.figures import Figures, count
from consensus.audit import AuditReport
from consensus.encoding.node import Node

MOST_LINES = 200
"""Most rows of a table of evaluations; of more, rows evenly apart are shown."""
TONES = {FINISHED: "good", STOPPED: "bad", UNFINISHED: "note"}
TRAFFIC = (
    ("uplink_bytes", "clients to servers"),
    ("downlink_bytes_broadcast", "servers to clients, if all get every aggregate"),
    ("downlink_bytes_catch_up", "servers to clients, if those who return catch up"),
    ("gossip_bytes", "between servers"),
    ("uplink_payload_bytes", "payloads of clients"),
    ("broadcast_payload_bytes", "payloads to clients"),
)
COUNTS = (
    ("blocks", "blocks"),
    ("attempts", "committees that the blocks took"),
    ("rebuilt_committees", "committees that failed"),
    ("steps", "steps of the vote in the attempts that decided"),
    ("captured_blocks", "blocks of a captured committee"),
    ("blocked_committees", "committees whose honest members are no more than two thirds"),
    ("captured_committees", "committees whose malicious members are more than two thirds"),
    ("corruptions", "servers that an adversary corrupted"),
    ("attempts_lost", "attempts lost at heights at which an adversary acted"),
    ("held_messages", "messages that an adversary held back"),
    ("closed_by_all", "attempts that all servers gave up together"),
    ("caught_up", "blocks that servers which were behind appended late"),
    ("gossip_messages", "messages between servers"),
    ("refused_messages", "messages that servers refused"),
    ("evidence", "proofs that a server signed two contradicting records"),
    ("malicious_updates", "updates of malicious clients"),
    ("malicious_updates_aggregated", "of these, aggregated into a block"),
)


@dataclass(frozen=True)
class Checked:
    """The outcome of an audit, for a page."""

    report: AuditReport | None
    """Counts of the things that were verified; None where the audit failed or was not made."""
    failure: str = ""
    """The first thing that was found wrong; empty where nothing was."""
    unmade: str = ""
    """The reason that no audit was made; empty where one was."""
    unchecked: str = ""
    """The claims that the folder is too bare to check, in words."""


def page_of(facts: RunFacts, checked: Checked) -> Page:
    """The page of a run."""
    key = [(name.upper(), figure(value)) for name, value in _scores(facts.summary)[:4]]
    if "simulated_seconds" in facts.summary:
        seconds = figure(facts.summary["simulated_seconds"])
        key.append(("simulated seconds", seconds))
    if "attempts" in facts.summary:
        key.append(("attempts", figure(facts.summary["attempts"])))
    sections = [
        Section("figures", "Figures", _drawn(facts, "course")),
        Section("results", "Results", _results(facts)),
        *([Section("chain", "Chain", chain(facts))] if facts.chained else []),
        Section("audit", "Audit", [told(checked)]),
        Section("config", "Config", _config(facts)),
        Section("origin", "Data, versions and machine", origin(facts.manifest, facts.config)),
        Section("again", "How to reproduce it", reproduce(facts)),
    ]
    return Page(
        facts.name,
        facts.state,
        TONES[facts.state],
        lead(facts),
        key,
        notices(facts, checked),
        sections,
    )


def lead(facts: RunFacts) -> str:
    """The run in a line."""
    config = facts.config
    told = f"{config.name}: {config.method}, on {config.data.dataset}, seed {config.seed}"
    if config.method != "federated":
        return f"{told}."
    how = "on a ledger" if facts.chained else "without a ledger"
    return (
        f"{told}; trained by {config.training.method}, {how}; "
        f"{grouped(facts.rounds)} of {grouped(config.rounds)} rounds."
    )


def notices(facts: RunFacts, checked: Checked) -> list[Words]:
    """The warnings that stand above all else."""
    found = []
    if checked.failure:
        found.append(Words(f"The audit FAILED: {checked.failure}", "bad"))
    if facts.state == UNFINISHED:
        found.append(
            Words(
                "This run is not finished, and may still be going on: its figures are those of "
                "validation items so far.",
                "note",
            )
        )
    if facts.stop is not None:
        stop = facts.stop
        found.append(
            Words(
                f"The run {stop.outcome} at height {grouped(stop.height)}, after "
                f"{grouped(stop.rounds)} rounds: {stop.because}",
                "bad",
            )
        )
    return found


def told(checked: Checked) -> Words:
    """The outcome of an audit as a paragraph."""
    if checked.failure:
        return Words(f"The audit failed: {checked.failure}", "bad")
    report = checked.report
    if report is None:
        return Words(f"Not audited: {checked.unmade}.", "note")
    text = (
        f"The audit passed. Verified from the bytes of the chain: {grouped(report.blocks)} blocks, "
        f"{grouped(report.proofs)} VRF proofs, {grouped(report.signatures)} signatures, "
        f"{grouped(report.contents)} blocks of content; {grouped(report.aggregates)} of "
        f"{grouped(report.blocks)} aggregates were recomputed from their updates. "
        f"Head: {report.head}."
    )
    if checked.unchecked:
        text += f" Not checked: {checked.unchecked}."
    if report.modelled:
        text += f" {MODELLED_CRYPTO}."
    return Words(text, "good")


# -- figures and results --------------------------------------------------------------------------


def _scores(summary: Figures) -> list[tuple[str, object]]:
    return [(name, value) for name, value in summary.items() if "@" in name]


def _drawn(facts: RunFacts, name: str) -> list[Block]:
    lines = [line for line in facts.metrics if count(line, "height")]
    if not lines:
        return [Words("No round was evaluated on validation items.")]
    caption = "Metrics on the validation items" + (
        "; attempts, simulated time and bytes of a round, each averaged since the evaluation before"
        if "simulated_seconds" in lines[-1]
        else ""
    )
    return [Drawing(name, caption, course(lines, name))]


def _results(facts: RunFacts) -> list[Block]:
    items = "test items" if facts.state != UNFINISHED else "validation items, so far"
    scores = [
        (name, f"{value:.6f}") for name, value in facts.summary.items() if _metric(name, value)
    ]
    rest = [
        (name, figure(value))
        for name, value in facts.summary.items()
        if "@" not in name and not name.startswith("gossip_bytes_")
    ]
    found: list[Block] = [Grid(f"Metrics on the {items}", ("metric", "value"), scores)]
    if facts.state != UNFINISHED:
        found.append(Grid("All figures of the summary", ("figure", "value"), rest, folded=True))
    if facts.metrics:
        found.append(_evaluations(facts.metrics))
    return found


def _metric(name: str, value: object) -> bool:
    return "@" in name and isinstance(value, float)


def _evaluations(lines: Sequence[Figures]) -> Grid:
    names = [name for name in lines[-1] if name not in ("split", "wall_seconds")]
    scored = [name for name in names if name in ("height", "loss") or "@" in name]
    more = ("simulated_seconds", "attempts", "uplink_bytes", "downlink_bytes", "gossip_bytes")
    headings = [*scored, *(name for name in more if name in names)]
    step = -(-len(lines) // MOST_LINES)
    shown = list(islice(reversed(lines), 0, None, step))[::-1]
    part = f", {len(shown)} of {len(lines)}" if step > 1 else ""
    rows = [[figure(line.get(name, "")) for name in headings] for line in shown]
    return Grid(f"Evaluations{part}", headings, rows, words=0, folded=True)


# -- the chain ------------------------------------------------------------------------------------


def chain(facts: RunFacts) -> list[Block]:
    """Head, heights, attempts, bytes by kind, and what was refused."""
    summary, found = facts.summary, list[Block]()
    if "head" in summary:
        found.append(Words(f"Head: {summary['head']}"))
    counts = [(label, figure(summary[key])) for key, label in COUNTS if key in summary]
    found.append(Grid("Heights, committees and messages", ("what", "number"), counts))
    if facts.attempts:
        rows = [(grouped(taken), grouped(heights)) for taken, heights in facts.attempts.items()]
        found.append(Grid("Attempts of a height", ("attempts", "heights"), rows, words=0))
    found.append(_bytes(summary))
    totals = facts.totals
    if totals is not None:
        rows = [(reason, grouped(times)) for reason, times in totals.refused.items()]
        if rows:
            found.append(Grid("Messages that servers refused", ("reason", "number"), rows))
        else:
            found.append(Words("Servers refused no message."))
        rows = [(name, grouped(each)) for name, each in totals.malicious_updates_by_attack.items()]
        if rows:
            found.append(Grid("Updates of malicious clients", ("attack", "number"), rows))
    else:
        found.append(Words("The folder has no state.sqlite that tells why messages were refused."))
    return found


def _bytes(summary: Figures) -> Grid:
    kinds = {
        f"between servers: {name.removeprefix('gossip_bytes_')}": value
        for name, value in summary.items()
        if name.startswith("gossip_bytes_") and isinstance(value, int)
    }
    sums = {label: summary[key] for key, label in TRAFFIC if key in summary}
    rows = [
        (label, grouped(value), size(value))
        for label, value in (sums | kinds).items()
        if isinstance(value, int)
    ]
    return Grid("Bytes by kind", ("kind", "bytes", ""), rows)


# -- config and origin ----------------------------------------------------------------------------


def _config(facts: RunFacts) -> list[Block]:
    rows = [(key, _value(value), _value(usual)) for key, value, usual in facts.changed()]
    grid = Grid("Options that differ from their defaults", ("option", "value", "default"), rows, 3)
    return [
        Words(f"Config hash (without the seed): {config_hash(facts.config)}"),
        grid if rows else Words("Every option has its default."),
        Code("The whole config", facts.yaml, folded=True, file="config.yaml"),
    ]


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def origin(manifest: Node, config: object = None) -> list[Block]:
    """The data, versions and machine that a manifest tells of."""
    if not manifest:
        return [Words("The folder has no manifest.json.")]
    rows = [
        ("data digest", str(manifest.get("data_digest", ""))),
        ("started", str(manifest.get("started", ""))),
        ("command", _command(manifest.get("command"))),
    ]
    git = manifest.get("git")
    if isinstance(git, Mapping):
        changed = ", with changed files" if git.get("dirty") else ""
        rows.append(("commit", f"{git.get('commit', '')}{changed}"))
    resumes = manifest.get("resumes")
    if isinstance(resumes, list) and resumes:
        rows.append(("resumed", f"{len(resumes)} times"))
    found: list[Block] = [Grid("The run", ("what", "value"), rows, 2)]
    for key, caption in (("versions", "Versions"), ("machine", "Machine")):
        told = manifest.get(key)
        if isinstance(told, Mapping):
            pairs = [
                (str(name), "none" if each is None else str(each)) for name, each in told.items()
            ]
            found.append(Grid(caption, ("what", "value"), pairs, 2, folded=True))
    return found


def _command(words: object) -> str:
    """A command line, of whose absolute paths the last part stays."""
    if not isinstance(words, list):
        return ""
    shown = []
    for word in map(str, words):
        key, equals, value = word.rpartition("=")
        place = PurePath(value).name if value.startswith("/") else value
        shown.append(f"{key}{equals}{place}")
    return shlex.join(shown)


def reproduce(facts: RunFacts) -> list[Block]:
    """The commands that make the same run."""
    git = facts.manifest.get("git")
    commit = git.get("commit") if isinstance(git, Mapping) else None
    lines = [f"git checkout {shlex.quote(str(commit))}", "pip install ."] if commit else []
    command = "learn" if facts.learnt else "run"
    lines.append(f"bfedrec {command} config.yaml --out again")
    if facts.chained and "head" in facts.summary:
        lines.append(f"bfedrec audit again --head {shlex.quote(str(facts.summary['head']))}")
    end = "the chain ends in the same head" if facts.chained else "the results are the same"
    return [
        Words(f"Save the whole config above as config.yaml. On the same data, {end}."),
        Code("In a shell", "\n".join(lines) + "\n"),
    ]
