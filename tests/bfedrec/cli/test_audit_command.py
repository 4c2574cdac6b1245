"""`bfedrec audit`: forged chains, edited run folders and pinned heads, each refused in one line."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from bfedrec.cli.audit import audit_command
from bfedrec.cli.main import main
from bfedrec.config.load import load
from bfedrec.federation.participants import Participants
from bfedrec.federation.run_record import run_record
from bfedrec.streams import Streams
from consensus.audit import LATEST_US
from consensus.encoding.cid import cid_text, parse_cid
from consensus.encoding.fields import MAX_INT
from consensus.records.block import Block
from consensus.records.genesis import Genesis
from consensus.records.votes import Vote
from consensus.storage.sqlite import SqliteStore
from tests.helpers import tiny

TINY = f"rounds: 6\n{tiny.TINY}evaluation: {{every: 2}}\n"
ROUNDS = 6
ALL, NONE = "retain_updates: all", "retain_updates: none"
WINDOW = "retain_updates: window, window: 3"


def make(folder: Path, ledger: str = ALL) -> Path:
    """Make a run whose ledger has these settings; its folder."""
    config = folder / "tiny.yaml"
    config.write_text(f"{TINY}ledger: {{{ledger}}}\n", encoding="utf-8")
    assert main(["run", str(config), "--out", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that keeps all updates; not to be written to."""
    return make(tmp_path_factory.mktemp("kept"))


@pytest.fixture
def run(kept: Path, tmp_path: Path) -> Path:
    """The same run, to be tampered with."""
    return Path(shutil.copytree(kept, tmp_path / "copy"))


def change(run: Path, *statements: tuple[Any, ...]) -> None:
    """Change the chain's file; each statement, with its values, must touch a row."""
    with closing(sqlite3.connect(run / "chain.sqlite")) as connection:
        for statement, *values in statements:
            assert connection.execute(statement, values).rowcount > 0
        connection.commit()


def records(run: Path) -> tuple[Genesis, list[Block]]:
    """The genesis and the blocks of a run."""
    with SqliteStore(run / "chain.sqlite", read_only=True) as store:
        blocks = [Block.decode(store.block(height)) for height in store.heights()[1:]]
        return Genesis.decode(store.block(0)), blocks


def signed(run: Path, block: Block, **changes: Any) -> Block:
    """A block with another header, signed by all that signed it: whoever has the config has every
    participant's keys."""
    config = load(run / "config.yaml")
    keys = Participants(config, Streams(config.seed)).server_keys
    header = replace(block.header, **changes)
    old = block.certificate
    digest = Vote.signing_digest(
        header.chain_id, old.height, old.attempt, old.step, old.phase, header.cid
    )
    signatures = tuple((server, keys[server][0].sign(digest)) for server, _ in old.signatures)
    return replace(
        block,
        header=header,
        signature=keys[header.aggregator][0].sign(header.signed),
        certificate=replace(old, block=header.cid, signatures=signatures),
    )


def write_chain(run: Path, genesis: Genesis, blocks: list[Block]) -> None:
    """Store another chain, and name its head wherever the folder does."""
    head = blocks[-1].cid if blocks else genesis.cid
    change(
        run,
        ("UPDATE blocks SET data = ? WHERE height = 0", genesis.encoded),
        *(("UPDATE blocks SET data = ? WHERE height = ?", b.encoded, b.height) for b in blocks),
        ("UPDATE meta SET value = ? WHERE key = 'head'", head),
    )
    edit(run, head=cid_text(head))


def write_last(run: Path, **changes: Any) -> None:
    """Sign the last block anew with another header."""
    genesis, blocks = records(run)
    write_chain(run, genesis, [*blocks[:-1], signed(run, blocks[-1], **changes)])


def sign_all(run: Path, genesis: Genesis) -> None:
    """Sign the whole chain anew on top of another genesis, and drop the updates, which name the
    blocks that they build on."""
    parent, blocks = genesis.cid, []
    for block in records(run)[1]:
        blocks.append(signed(run, block, parent=parent))
        parent = blocks[-1].cid
    write_chain(run, genesis, blocks)
    change(run, ("DELETE FROM updates",))


def edit(run: Path, **changes: Any) -> None:
    """Edit the summary; None takes a field away."""
    path = run / "summary.json"
    summary = json.loads(path.read_text(encoding="utf-8")) | changes
    left = {key: value for key, value in summary.items() if value is not None}
    path.write_text(json.dumps(left), encoding="utf-8")


def configure(run: Path, section: str, **changes: Any) -> None:
    """Edit config.yaml; an empty section is the top."""
    path = run / "config.yaml"
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    (tree[section] if section else tree).update(changes)
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")


def shorten(run: Path) -> None:
    """Cut the last block off, and edit what names it."""
    change(
        run,
        (f"DELETE FROM blocks WHERE height = {ROUNDS}",),
        (f"DELETE FROM updates WHERE height = {ROUNDS}",),
    )
    genesis, blocks = records(run)
    write_chain(run, genesis, blocks)
    edit(run, rounds=ROUNDS - 1)


def with_policy(run: Path, retain: str) -> Genesis:
    """The genesis with another policy of retention."""
    genesis = records(run)[0]
    assert genesis.run is not None
    return replace(genesis, run=replace(genesis.run, retain=retain))


def head_of(run: Path) -> str:
    """The head that the summary names."""
    return str(json.loads((run / "summary.json").read_text(encoding="utf-8"))["head"])


def refusal(run: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that an audit ends with, which fails."""
    capsys.readouterr()
    assert main(["audit", str(run), *words]) == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.count("\n") == 1
    return errors


def passed(run: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The text that an audit ends with, which passes."""
    capsys.readouterr()
    assert main(["audit", str(run), *words]) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    return output


# -- honest runs -----------------------------------------------------------------------------------


def test_a_run_prints_its_head_and_the_command_that_pins_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make(tmp_path, NONE)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"verify it with: bfedrec audit {run} --head {head_of(run)}"
    assert main(last.partition(": bfedrec ")[2].split()) == 0
    told = capsys.readouterr().out
    assert "0 of 6 aggregates recomputed (the run keeps no updates)" in told
    assert "not checked" not in told


def test_what_was_recomputed_and_by_which_policy_is_told(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = passed(kept, capsys)
    assert "6 of 6 aggregates recomputed (the run keeps all updates)" in told
    assert "not checked" not in told


# -- retention -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "height"), [("", 1), ("WHERE height = 3", 3), ("WHERE height = 6", 6)]
)
def test_updates_that_all_are_kept_of_are_missed(
    run: Path, which: str, height: int, capsys: pytest.CaptureFixture[str]
) -> None:
    change(run, (f"DELETE FROM updates {which}",))
    told = refusal(run, capsys)
    assert f"failed at height {height}: its updates are missing" in told
    assert "the run keeps all updates" in told


def test_a_forged_block_does_not_pass_for_want_of_its_updates(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All keys are the forger's, and every note of the head is edited."""
    blocks = records(run)[1]
    write_last(run, aggregate_cid=blocks[0].header.aggregate_cid)
    assert "the aggregate is not that of its 4 updates" in refusal(run, capsys)
    change(run, ("DELETE FROM updates WHERE height = 6",))
    assert "height 6: its updates are missing" in refusal(run, capsys)


def test_a_window_has_no_holes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make(tmp_path, WINDOW)
    told = passed(run, capsys)
    assert "3 of 6 aggregates recomputed (the run keeps the updates of the last 3 heights)" in told
    for height in (6, 5, 4):
        change(run, (f"DELETE FROM updates WHERE height = {height}",))
        assert f"height {height}: its updates are missing" in refusal(run, capsys)


def test_a_policy_cannot_be_edited(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither in the genesis alone, nor in config.yaml alone, nor in both."""
    genesis = with_policy(run, "none")
    change(run, ("UPDATE blocks SET data = ? WHERE height = 0", genesis.encoded))
    change(run, ("DELETE FROM updates",))
    assert "height 0: " in (told := refusal(run, capsys))
    assert "config.yaml is not the config of this chain" in told
    configure(run, "ledger", retain_updates="none")
    assert "config.yaml is not the config of this chain" in refusal(run, capsys)
    record = run_record(load(run / "config.yaml"))
    data = replace(genesis, run=record).encoded
    change(run, ("UPDATE blocks SET data = ? WHERE height = 0", data))
    assert "height 1: its parent is not the block before it" in refusal(run, capsys)


def test_only_a_pinned_head_tells_a_chain_that_is_signed_anew_as_a_whole(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With all keys, and with config and summary edited, it is a valid chain: of another head."""
    head = head_of(run)
    genesis = records(run)[0]
    configure(run, "ledger", retain_updates="none")
    sign_all(run, replace(genesis, run=run_record(load(run / "config.yaml"))))
    assert "0 of 6 aggregates recomputed (the run keeps no updates)" in passed(run, capsys)
    told = refusal(run, capsys, "--head", head)
    assert f"the head is {head_of(run)} and not {head}, as --head says" in told


def test_a_genesis_that_names_no_run_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sign_all(run, replace(records(run)[0], run=None))
    assert "height 0: it names no run" in refusal(run, capsys)


# -- config.yaml -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("model", {"init_scale": 0.25}),
        ("", {"seed": 1}),
        ("", {"rounds": 7}),
        ("", {"faults": [{"skew": 1e9}]}),
        ("clients", {"per_round": 5}),
        ("ledger", {"retain_updates": "window"}),
        ("ledger", {"window": 11}),
        ("committee", {"vote_seconds": 3600.0}),
        ("evaluation", {"every": 3}),
        ("evaluation", {"k": "ten"}),
    ],
)
def test_a_changed_config_is_refused(
    run: Path, section: str, changes: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    configure(run, section, **changes)
    told = refusal(run, capsys)
    assert "failed at height 0: " in told
    assert "config.yaml" in told


@pytest.mark.parametrize("text", ["", "{", "[1]", "model: 1", "rounds: 6\nrounds: 7", "\\0"])
def test_a_config_that_is_none_is_refused(
    run: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "config.yaml").write_text(text, encoding="utf-8")
    assert "config.yaml" in refusal(run, capsys)


def test_a_config_that_says_the_same_passes(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In another order and layout, under another name, or with another address of a node."""
    configure(run, "", name="other")
    configure(run, "store", api="/ip4/10.0.0.1/tcp/5001", kind="ipfs")
    path = run / "config.yaml"
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    text = json.dumps(dict(reversed(tree.items())), indent=1)
    path.write_text(f"# a comment\n{text}", encoding="utf-8")
    assert "not checked" not in passed(run, capsys)


def test_a_config_cannot_be_deleted(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "config.yaml").unlink()
    told = refusal(run, capsys)
    assert f"{run / 'config.yaml'} is missing" in told
    assert "config.yaml is missing" in refusal(run / "chain.sqlite", capsys)


def test_of_a_chain_alone_it_is_told_what_cannot_be_checked(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(run / "chain.sqlite", alone)
    told = passed(alone, capsys).splitlines()
    assert told[1].endswith(
        "not checked: config, length and times, head (give it by --head), as there is no "
        "config.yaml beside it"
    )
    assert "head" not in passed(alone, capsys, "--head", head_of(run)).splitlines()[1]
    change(alone, ("DELETE FROM updates WHERE height = 6",))
    assert "height 6: its updates are missing" in refusal(alone, capsys)


# -- the head --------------------------------------------------------------------------------------


def test_a_shortened_chain_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = head_of(run)
    shorten(run)
    assert "height 5: the chain ends here, but the run had 6 rounds" in refusal(run, capsys)
    assert "height 5: the chain ends here" in refusal(run, capsys, "--head", head)
    (run / "summary.json").unlink()
    told = passed(run, capsys).splitlines()[1]
    assert "not checked: length, head (give it by --head), as the run is not finished (5 of" in told
    told = refusal(run, capsys, "--head", head)
    assert f"and not {head}, as --head says" in told


def test_a_stopped_run_is_as_long_as_it_says(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shorten(run)
    (run / "summary.json").rename(run / "stopped.json")
    assert "not checked" not in passed(run, capsys, "--head", cid_text(records(run)[1][-1].cid))
    change(run, ("DELETE FROM blocks WHERE height = 5",), ("DELETE FROM updates WHERE height = 5",))
    assert "height 4: the chain ends here, but the run had 5 rounds" in refusal(run, capsys)


def test_a_chain_of_nothing_but_its_genesis_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = head_of(run)
    change(run, ("DELETE FROM blocks WHERE height > 0",), ("DELETE FROM updates",))
    write_chain(run, records(run)[0], [])
    assert "height 0: the chain ends here" in refusal(run, capsys)
    (run / "summary.json").unlink()
    assert f"not {head}, as --head says" in refusal(run, capsys, "--head", head)
    change(run, ("DELETE FROM blocks",))
    assert "there is no genesis" in refusal(run, capsys)


def test_a_chain_is_no_longer_than_its_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "summary.json").unlink()
    change(run, ("INSERT INTO blocks VALUES (7, ?)", records(run)[1][-1].encoded))
    assert "height 7: the run has only 6 rounds" in refusal(run, capsys)


def test_another_head_than_the_pinned_one_is_refused(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    below = cid_text(records(kept)[1][-2].cid)
    told = refusal(kept, capsys, "--head", below)
    assert f"height 6: the head is {head_of(kept)} and not {below}, as --head says" in told
    assert audit_command(kept, parse_cid(head_of(kept))) == 0


@pytest.mark.parametrize(
    "word", ["", "b", "bafy", "Qm" + "a" * 44, "\u00e9", "b" + "a" * 100_000, "bafyrei" + "a" * 52]
)
def test_a_malformed_head_is_bad_usage(
    kept: Path, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", str(kept), f"--head={word}"]) == (1 if len(word) == 59 else 2)
    output, errors = capsys.readouterr()
    assert (output, errors.count("\n")) == ("", 1)
    assert len(errors) < 600


# -- the summary -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"head": "bafy"}, "not the figures of a run"),
        ({"head": 7}, "not the figures of a run"),
        ({"head": None}, "not the figures of a run: head: missing"),
        ({"simulated_seconds": None}, "not the figures of a run: simulated_seconds: missing"),
        ({"simulated_seconds": -1e9}, "expected a time that a clock can show"),
        ({"simulated_seconds": "1"}, "expected a number"),
        ({"rounds": 5}, "rounds: 5: expected 6, as the chain has"),
        ({"rounds": None}, "not the figures of a run: rounds: missing"),
    ],
)
def test_an_edited_summary_is_refused(
    run: Path, changes: dict[str, Any], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(run, **changes)
    assert reason in refusal(run, capsys)


def test_a_summary_of_another_head_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    below = cid_text(records(run)[1][-2].cid)
    edit(run, head=below)
    assert f"not {below}, as {run / 'summary.json'} says" in refusal(run, capsys)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        "[" * 100_000,
        '{"head": {}}',
        '{"simulated_seconds": NaN}',
        '{"simulated_seconds": 1e308}',
        '{"simulated_seconds": 1' + 400 * "0" + "}",
    ],
)
def test_a_summary_that_is_none_is_one_line(
    run: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "summary.json").write_text(text, encoding="utf-8")
    capsys.readouterr()
    assert main(["audit", str(run)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# -- time ------------------------------------------------------------------------------------------

HOUR = 3_600_000_000


def at(timestamp: int) -> Callable[[Path], None]:
    """Forges a last block of this time."""
    return partial(write_last, timestamp=timestamp)


def test_a_time_that_the_run_cannot_have_reached_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = records(run)[1][-1].header.timestamp
    for timestamp in (last + HOUR, LATEST_US + 1, MAX_INT):
        at(timestamp)(run)
        told = refusal(run, capsys)
        assert f"height 6: its timestamp, {timestamp} us, is beyond what the run" in told


def test_an_unfinished_run_is_as_long_as_its_last_metrics_say(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at(records(run)[1][-1].header.timestamp + HOUR)(run)
    (run / "summary.json").unlink()
    assert "is beyond what the run can have reached" in refusal(run, capsys)
    (run / "metrics.jsonl").write_text('{"height": 6}\n', encoding="utf-8")
    assert "metrics.jsonl: not of a run: simulated_seconds: missing" in refusal(run, capsys)


def test_a_chain_alone_has_no_time_that_no_clock_can_show(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A microsecond that a clock of float64 seconds cannot tell from the next."""
    at(LATEST_US + 1)(run)
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(run / "chain.sqlite", alone)
    assert "is beyond what the run can have reached" in refusal(alone, capsys)
