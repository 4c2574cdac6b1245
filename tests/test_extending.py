"""Parts of a package of one's own: the files that docs/extending.md shows, installed and used."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.helpers import tiny
from tests.helpers.commands import completed
from tests.helpers.plugin import GUIDE, shown

ROOT = Path(__file__).resolve().parent.parent
TINY = f"rounds: 2\n{tiny.TINY}"


def install(folder: Path, parts: dict[str, str], name: str, version: str, points: str) -> None:
    """Put a package into a folder on the path, as an installer would: files and metadata."""
    for file, text in parts.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        (path.parent / "__init__.py").touch()
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[bfedrec.plugins]\n{points}", encoding="utf-8")


class Shop:
    """A folder with installed plugins, and commands that are run with it on the path."""

    def __init__(self, folder: Path) -> None:
        self.site = folder / "site"
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir()
        (folder / "tiny.yaml").write_text(TINY, encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(self.site), str(ROOT)])
        environment = {**os.environ, "PYTHONPATH": path, "BFEDREC_DATA": str(self.data)}
        environment.pop("IPFS_API", None)
        return environment

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A new interpreter with these words."""
        return subprocess.run(
            [sys.executable, *words],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment,
        )

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command with these words, forked from a process that knows no plugin."""
        return completed(*words, env=self.environment, cwd=self.folder)

    def run(self, *overrides: str) -> Path:
        """The folder of a tiny run that went well."""
        out = self.folder / f"run-{len(list(self.folder.iterdir()))}"
        done = self.command("run", "tiny.yaml", *overrides, "--out", str(out))
        assert done.returncode == 0, done.stderr
        return out


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """All that the guide shows, installed."""
    shop = Shop(tmp_path_factory.mktemp("shop"))
    parts = shown()
    project = tomllib.loads(parts.pop("pyproject.toml"))["project"]
    points = "".join(
        f"{name} = {module}\n"
        for name, module in project["entry-points"]["bfedrec.plugins"].items()
    )
    install(shop.site, parts, project["name"], project["version"], points)
    return shop


def test_the_guide_names_every_file_it_shows() -> None:
    parts = shown()
    project = tomllib.loads(parts.pop("pyproject.toml"))["project"]
    modules = set(project["entry-points"]["bfedrec.plugins"].values())
    assert {file.removesuffix(".py").replace("/", ".") for file in parts} == modules
    text = GUIDE.read_text(encoding="utf-8")
    assert text.count("```") == 2 * (len(parts) + 1), "a block without a file's name above it"


def test_the_commands_of_the_guide_would_be_taken(shop: Shop) -> None:
    code = """
from bfedrec.plugins import need_plugins
need_plugins()
from docs.generator.blocks import blocks
from tests.helpers.plugin import GUIDE
from tests.helpers.shell import commands, problem
found = [block for block in blocks(GUIDE.read_text("utf-8")) if block.language == "sh"
         and "docs/examples" not in block.text]  # tests/test_example_plugin.py has that package
told = [problem(words) for block in found for words in commands(block.text)]
print(len(told), *filter(None, told), sep="\\n")
"""
    done = shop.python("-c", code)
    number, *wrong = done.stdout.splitlines() or [done.stderr]
    assert wrong == []
    assert int(number) >= 10


def test_a_rule_is_used_and_audited(shop: Shop) -> None:
    """In new interpreters, in which all plugins are imported before what uses them."""
    out = shop.folder / "rule"
    words = ("aggregation.rule=largest", "aggregation.factor_permille=900", "--out", str(out))
    done = shop.python("-m", "bfedrec", "run", "tiny.yaml", *words)
    assert done.returncode == 0, done.stderr
    assert "factor_permille: 900" in (out / "config.yaml").read_text(encoding="utf-8")
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["versions"]["shop-parts"] == "1.0"
    audit = shop.python("-m", "bfedrec", "audit", str(out))
    assert audit.returncode == 0, audit.stderr
    text = shop.python("-m", "bfedrec", "run", "--help").stdout
    assert "the largest of each number, times factor_permille" in text
    wrong = shop.command("run", "tiny.yaml", "aggregation.factor_permille=2001")
    assert wrong.returncode == 2
    assert "2000" in wrong.stderr


def test_a_codec_a_basis_and_a_metric_are_used(shop: Shop) -> None:
    out = shop.run("compression.kind=shifted", "compression.shift=12")
    assert "shift: 12" in (out / "config.yaml").read_text(encoding="utf-8")
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["uplink_bytes"] > 2 * 4 * 4 * 220  # rounds, bytes, d, N: one client in each
    assert 0.0 < summary["mrr@10"] <= summary["ndcg@10"]
    assert summary["full_mrr@10"] <= summary["full_ndcg@10"]
    assert shop.command("audit", str(out)).returncode == 0
    out = shop.run("model.basis=leading")
    assert "basis: leading" in (out / "config.yaml").read_text(encoding="utf-8")
    assert shop.command("audit", str(out)).returncode == 0


def test_a_training_method_and_an_optimizer_are_used(shop: Shop) -> None:
    heads = set()
    for words in (
        ("training={method: gather}",),
        ("training={method: gather, item_step: 0.25}",),
        ("training={method: gather}", "optimizer.kind=signs"),
        ("training={method: gather}", "optimizer.kind=signs", "optimizer.move_ppm=500"),
    ):
        out = shop.run(*words)
        assert shop.command("audit", str(out)).returncode == 0
        heads.add(json.loads((out / "summary.json").read_text(encoding="utf-8"))["head"])
    assert len(heads) == 4
    text = " ".join(shop.command("run", "--help").stdout.split())
    assert "gather: pulls a client's items together" in text
    assert "signs: a step of one length in every number" in text
    unread = shop.command("run", "tiny.yaml", "training={method: gather, l2: 0.5}")
    assert unread.returncode == 2
    assert "as training.method gather does not read it" in unread.stderr


def test_a_behaviour_is_used_drawn_and_listed(shop: Shop) -> None:
    honest, late = (
        json.loads((shop.run(words) / "summary.json").read_text(encoding="utf-8"))
        for words in ("servers.malicious=0", "servers.malicious=dawdle:1/4")
    )
    assert late["simulated_seconds"] > honest["simulated_seconds"] + 1.0
    assert "\ndawdle " in f"\n{shop.command('behaviours').stdout}"
    assert ",dawdle:1/3" in shop.command("behaviours", "--share", "1/3").stdout
    torture = ("torture", "--seeds", "0-39", "--jobs", "2")
    record = ("--record", str(shop.folder / "torture"))
    asked = shop.command(*torture, "--behaviours", "dawdle", *record)
    assert asked.returncode == 0, asked.stderr
    (path,) = (shop.folder / "torture").glob("*.json")
    assert path.name == "torture-bft-dawdle-0-39.json"
    figures = json.loads(path.read_text(encoding="utf-8"))
    assert figures["behaviours"]["dawdle"] > 0
    assert figures["versions"]["shop-parts"] == "1.0"
    unknown = shop.command(*torture, "--behaviours", "dawdel")
    assert unknown.returncode == 2
    assert "--behaviours dawdel" in unknown.stderr


def write_visits(folder: Path) -> None:
    """Write the file of the guide's data set: 40 users with 8 visits each."""
    rows = (f"{u},{(5 * u + 27 * k) % 220},{k}\n" for u in range(40) for k in range(8))
    (folder / "visits.csv").write_text("user,item,time\n" + "".join(rows), encoding="utf-8")


def test_a_data_set_is_checked_listed_and_used(shop: Shop) -> None:
    write_visits(shop.data)
    checked = shop.command("data", "check", "visits", "--from", "data")
    assert checked.returncode == 0, checked.stderr
    assert "the yearbook (published)" in checked.stdout
    listed = shop.command("data", "list").stdout
    assert "visits: Visits to a shop, https://shop.example" in listed
    assert f"visits: official files: {shop.data / 'visits.csv'}" in shop.command("doctor").stdout
    assert "visits: Visits to a shop" in " ".join(shop.command("run", "--help").stdout.split())
    out = shop.run("data.dataset=visits")
    assert "dataset: visits" in (out / "config.yaml").read_text(encoding="utf-8")
    assert shop.command("audit", str(out)).returncode == 0
    unknown = shop.command("run", "tiny.yaml", "data.dataset=visit")
    assert unknown.returncode == 2
    assert "did you mean 'visits'?" in unknown.stderr
    (shop.folder / "visits.csv").write_text("user,item,time\n1,2,3\n", encoding="utf-8")
    other = shop.command("data", "check", "visits", "--from", "visits.csv")
    assert other.returncode == 2
    assert "the file is damaged or another version" in other.stderr


def test_an_attack_by_clients_is_used(shop: Shop) -> None:
    heads = set()
    for group in ("", "{attack: lazy, share: 1, factor: 0.1}", "{attack: lazy, share: 1}"):
        out = shop.run(f"clients.malicious=[{group}]")
        assert shop.command("audit", str(out)).returncode == 0
        heads.add(json.loads((out / "summary.json").read_text(encoding="utf-8"))["head"])
    assert len(heads) == 3
    assert "factor: 0.5" in (out / "config.yaml").read_text(encoding="utf-8")
    text = " ".join(shop.command("run", "--help").stdout.split())
    assert "lazy (factor=0.5): Uploads a share of what it learnt" in text
    unknown = shop.command("run", "tiny.yaml", "clients.malicious=[{attack: lasy, share: 1}]")
    assert unknown.returncode == 2
    assert "did you mean 'lazy'?" in unknown.stderr


def test_a_protocol_is_run_audited_and_attacked(shop: Shop) -> None:
    out = shop.run("protocol=full")
    assert "protocol: full" in (out / "config.yaml").read_text(encoding="utf-8")
    audit = shop.command("audit", str(out))
    assert audit.returncode == 0, audit.stderr
    text = " ".join(shop.command("run", "--help").stdout.split())
    assert "full (Algorithm 2 with a member in every seat)" in text
    record = ("--record", str(shop.folder / "torture-full"))
    asked = shop.command("torture", "--protocol", "full", "--seeds", "0-3", *record)
    (path,) = (shop.folder / "torture-full").glob("*.json")
    assert path.name == "torture-full-0-3.json", asked.stderr
    unknown = shop.command("run", "tiny.yaml", "protocol=ful")
    assert unknown.returncode == 2
    assert "did you mean 'full'?" in unknown.stderr
    shop.site.rename(shop.folder / "elsewhere")
    without = shop.command("audit", str(out))
    (shop.folder / "elsewhere").rename(shop.site)
    assert without.returncode != 0
    assert (
        "protocol 'full' is not one of bft, hotstuff, paper, tendermint"
        in without.stdout + without.stderr
    )


def test_the_rules_of_a_protocol_decide(shop: Shop) -> None:
    """Of four seats three are taken: `paper` is content, the protocol of the guide is not."""
    code = """
from bfedrec.plugins import need_plugins
need_plugins()
from consensus.ledger.validity import InvalidBlock
from consensus.protocols.registry import protocol_named, protocol_of
from tests.helpers.toy import Toy
world = Toy(servers=3, clients=2, committee_size=4, protocol="paper", crypto="modelled")
block = world.play().block
head = protocol_of(world.genesis).first_head(world.genesis)
protocol_of(world.genesis).check_block(world.genesis, head, block)
try:
    protocol_named("full").check_block(world.genesis, head, block)
except InvalidBlock as error:
    print(error)
full = Toy(servers=4, clients=2, committee_size=4, protocol="full", crypto="modelled")
print(len(full.play().block.tickets), type(full.world.servers[0].participant).__name__)
"""
    assert shop.python("-c", code).stdout == "a seat is empty\n4 FullParticipant\n"


def test_a_table_is_listed_and_made(shop: Shop) -> None:
    listed = shop.command("table").stdout.splitlines()
    assert listed[-1].split() == ["sizes", *["servers", "and", "seats", "of", "a", "committee"]]
    assert listed[0].startswith("table1 ")
    done = shop.command("table", "sizes", "committee.size=7", "--format", "csv")
    assert (done.returncode, done.stdout) == (0, "part,count\nservers,30\ncommittee,7\n")
    assert (shop.folder / "results" / "tables" / "sizes.tex").exists()
    assert "sizes" in shop.command("table", "--help").stdout
    wrong = shop.command("table", "size")
    assert wrong.returncode == 2
    assert wrong.stderr.endswith("did you mean 'sizes'?\n")


def test_a_logger_is_used(shop: Shop) -> None:
    out = shop.run("loggers=[csv]", "evaluation.every=1")
    rows = [line.split(",") for line in (out / "log.csv").read_text(encoding="utf-8").split()]
    logged = {(int(height), name): float(value) for height, name, value in rows}
    assert len(logged) == len(rows)
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    wanted = {
        (line["height"], name): value
        for line in map(json.loads, lines)
        for name, value in line.items()
        if name not in ("height", "split")
    }
    assert len(lines) == 2
    assert logged == wanted
    assert "csv: rows in RUN/log.csv" in " ".join(shop.command("run", "--help").stdout.split())


def test_a_figure_is_made_with_the_runs_that_it_lacks(shop: Shop) -> None:
    assert "\nuplink " in shop.command("figure").stdout
    lacking = shop.command("figure", "uplink")
    assert lacking.returncode == 2
    assert "2 of 2 runs are not recorded" in lacking.stderr
    done = shop.command("make", "uplink")
    assert done.returncode == 0, done.stderr
    rows = (shop.folder / "results" / "figures" / "uplink.csv").read_text(encoding="utf-8")
    assert [line.split(",")[0] for line in rows.splitlines()] == ["rounds", "1", "2"]
    assert shop.command("figure", "uplink").returncode == 0
    assert (shop.folder / "results" / "figures" / "uplink.pdf").exists()


def test_a_plugin_with_a_figure_does_not_load_matplotlib(shop: Shop) -> None:
    code = """
import sys
from bfedrec.plugins import need_plugins
need_plugins()
from bfedrec.report.registry import FIGURES
assert list(FIGURES) == ["uplink"]
print("matplotlib" in sys.modules)
"""
    assert shop.python("-c", code).stdout == "False\n"


ROOMS = {
    "consensus.adversary.behaviours": (
        "consensus.adversary.composed",
        "consensus.adversary.behaviour.BEHAVIOURS",
    ),
    "bfedrec.aggregation.rules": (
        "bfedrec.aggregation.registry",
        "bfedrec.aggregation.aggregator.AGGREGATORS",
    ),
    "bfedrec.compression.codecs": (
        "bfedrec.compression.registry",
        "bfedrec.compression.codec.CODECS",
    ),
    "bfedrec.attacks.kinds": ("bfedrec.attacks.settings", "bfedrec.attacks.attack.ATTACKS"),
    "bfedrec.data.sets": ("bfedrec.data.catalogue", "bfedrec.data.source.DATA_SETS"),
}
"""Folders with a file for each part or few: the module that finds them, and their registry."""


@pytest.mark.parametrize("room", ROOMS)
def test_a_file_in_a_room_is_enough(room: str, tmp_path: Path) -> None:
    finder, registry = ROOMS[room]
    module, _, name = registry.rpartition(".")
    shop = Shop(tmp_path)
    new = tmp_path / "new"
    new.mkdir()
    (new / "zzz.py").write_text(
        f"from {module} import {name}\n{name}.register('zzz')(type('Mine', (), {{}}))\n",
        encoding="utf-8",
    )
    code = f"""
import {room}
{room}.__path__.append({str(new)!r})
import {finder}
from {module} import {name}
print("zzz" in {name}, len({name}) > 2)
"""
    done = shop.python("-c", code)
    assert done.stdout == "True True\n", done.stderr


def test_an_inference_attack_is_used(shop: Shop) -> None:
    out = shop.run("privacy.attacks.names=[length]", "ledger.retain_updates=none")
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["privacy_length_auc"] > 0.5
    done = shop.command("privacy", str(out), "--attacks", "length,popularity")
    assert done.returncode == 0, done.stderr
    figures = json.loads((out / "privacy.json").read_text(encoding="utf-8"))
    assert figures["length"]["auc"] == summary["privacy_length_auc"]


# -- the mechanism ---------------------------------------------------------------------------------


def test_the_doctor_lists_plugins(shop: Shop) -> None:
    told = shop.command("doctor").stdout
    assert re.search(
        r"^ok +plugins +shop-parts 1\.0 \(aggregator = shop_parts\.aggregator\)$", told, re.M
    )


def test_a_library_loads_plugins_with_the_first_config(shop: Shop) -> None:
    code = """
from bfedrec.aggregation.registry import AGGREGATORS
from bfedrec.config.load import load
assert "largest" not in AGGREGATORS
print(load("tiny.yaml", ["aggregation.rule=largest"]).aggregation.rule)
"""
    assert shop.python("-c", code).stdout == "largest\n"


TAKEN = {
    "behaviour": (
        "from consensus.adversary.behaviour import Behaviour, behaviour\n"
        "behaviour('silent')(type('Mine', (Behaviour,), {}))\n",
        "behaviour 'silent' is registered twice, by consensus.adversary.behaviours.messages",
    ),
    "protocol": (
        "from consensus.ledger.protocol import protocol\n"
        "from consensus.protocols.paper.protocol import Paper\n"
        "protocol('bft')(type('Mine', (Paper,), {'__module__': __name__}))\n",
        "protocol 'bft' is registered twice, by consensus.protocols.bft.protocol",
    ),
    "data_set": (
        "from bfedrec.data.source import DataSource, data_set\n"
        "data_set('ml-1m')(type('Mine', (DataSource,), {'__module__': __name__}))\n",
        "data set 'ml-1m' is registered twice, by bfedrec.data.sets.movielens_1m",
    ),
    "attack": (
        "from bfedrec.attacks.attack import Attack, attack\n"
        "attack('scale')(type('Mine', (Attack,), {'__module__': __name__}))\n",
        "attack 'scale' is registered twice, by bfedrec.attacks.kinds.poisoning",
    ),
    "table": (
        "from bfedrec.report.registry import register_table\n"
        "def make(request): ...\n"
        "register_table('table1', 'mine', make)\n",
        "table 'table1' is registered twice, by bfedrec.report.tables.table1",
    ),
}
"""Plugins whose part has a name of this project, and the beginning of the cause that is told."""


def test_a_plugin_with_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    points = "".join(f"{kind} = taken_{kind}\n" for kind in TAKEN)
    install(shop.site, {"empty/__init__.py": ""}, "taken-parts", "2.0", points)
    for kind, (text, _) in TAKEN.items():
        (shop.site / f"taken_{kind}.py").write_text(text, encoding="utf-8")
    told = [line for line in shop.command("doctor").stdout.splitlines() if "plugins" in line]
    assert told == [
        f"FAIL  plugins   plugin taken-parts 2.0 ({kind} = taken_{kind}) cannot be loaded: "
        f"ValueError: {why} and by taken_{kind}"
        for kind, (_, why) in sorted(TAKEN.items())
    ]


def test_a_plugin_that_fails_is_told_and_stops_what_may_depend_on_it(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    install(shop.site, {"broken/__init__.py": ""}, "broken-parts", "2.0", "it = broken\n")
    (shop.site / "broken" / "__init__.py").write_text("import no_such_module\n", encoding="utf-8")
    why = "ModuleNotFoundError: No module named 'no_such_module'"
    line = f"plugin broken-parts 2.0 (it = broken) cannot be loaded: {why}"
    stopped = shop.command("run", "tiny.yaml", "--out", "out")
    assert (stopped.returncode, stopped.stderr) == (2, f"bfedrec: {line}\n")
    assert not (tmp_path / "out").exists()
    for words in (("--help",), ("run", "--help"), ("version",)):
        done = shop.command(*words)
        assert (done.returncode, done.stderr) == (0, f"bfedrec: {line}\n")
    doctor = shop.command("doctor")
    assert doctor.returncode == 1
    assert f"FAIL  plugins   {line}" in doctor.stdout
    code = "from bfedrec.config.load import load; load('tiny.yaml')"
    assert f"PluginError: {line}" in shop.python("-c", code).stderr


def test_without_plugins_a_manifest_says_nothing_of_them(tmp_path: Path) -> None:
    code = """
from bfedrec.runs.manifest import PACKAGES, versions
from bfedrec.plugins import Plugins, load_plugins
assert load_plugins() == Plugins()
assert list(versions()) == ["python", *PACKAGES]
"""
    done = Shop(tmp_path).python("-c", code)
    assert done.returncode == 0, done.stderr
