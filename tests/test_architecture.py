"""The layers and the rooms: which may import which, and what may be loaded when."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.trees import tree_of

ROOT = Path(__file__).resolve().parent.parent


def imports(package: str) -> Iterator[tuple[str, str]]:
    """Every import statement of a package, wherever it stands: file and top-level module."""
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(tree_of(path)):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield where, alias.name.partition(".")[0]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{where}: a relative import hides its layer"
                yield where, (node.module or "").partition(".")[0]


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("consensus", {"bfedrec", "experiments", "tests", "torch", "pandas", "pydantic"}),
        ("bfedrec", {"experiments", "tests"}),
    ],
)
def test_imports_run_one_way(package: str, forbidden: set[str]) -> None:
    wrong = [f"{where} imports {name}" for where, name in imports(package) if name in forbidden]
    assert wrong == []


def test_the_ledger_is_compiled_in_the_transport_alone() -> None:
    compiled = {where.partition(":")[0] for where, name in imports("consensus") if name == "numba"}
    assert compiled == {"consensus/network/arrays.py", "consensus/network/kernels.py"}


def test_experiments_hold_no_code() -> None:
    assert list((ROOT / "experiments").rglob("*.py")) == []


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has after a statement."""
    code = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        (
            "import bfedrec",
            {"torch", "numba", "numpy", "pandas", "pydantic", "matplotlib", "rich", "yaml"},
        ),
        (
            "import bfedrec; bfedrec.run, bfedrec.load, bfedrec.Config",
            {"torch", "numba", "pandas", "matplotlib", "starlette"},
        ),
        (
            "import bfedrec.cli.main",
            {"torch", "numba", "numpy", "pandas", "pydantic", "matplotlib"},
        ),
        (
            "import bfedrec.config.load, bfedrec.runs.folder",
            {"torch", "numba", "pandas", "matplotlib"},
        ),
        ("import bfedrec.extending", {"torch", "numba", "pandas", "matplotlib", "starlette"}),
        (
            "import bfedrec.cli.serve, bfedrec.web.explorer.app, bfedrec.web.explorer.ahead",
            {"torch", "numba", "pandas", "matplotlib"},
        ),
        ("import bfedrec.runs.simulation", {"torch", "pandas", "matplotlib"}),
        ("import bfedrec.learning.cohort", {"torch", "pandas"}),
        ("import consensus.simulation.world", {"torch", "pandas", "bfedrec", "numba"}),
        (
            "import consensus.ethereum.registry, consensus.ethereum.accounts",
            {"web3", "eth", "eth_account", "requests", "numpy"},
        ),
    ],
)
def test_loading_a_module_loads_no_more_than_it_needs(statement: str, unwanted: set[str]) -> None:
    assert loaded_by(statement) & unwanted == set()


# -- rooms ----------------------------------------------------------------------------------------

#: Every arrow between rooms, imports for type checking included. A new one needs a reason: an arrow
#: against the order of the list in docs/design.md is wrong.
ARROWS = {
    "bfedrec.__main__": "bfedrec.cli",
    "bfedrec.aggregation": "bfedrec.parts bfedrec.section consensus.registry",
    "bfedrec.api": (
        "bfedrec.baselines bfedrec.config bfedrec.connections bfedrec.data bfedrec.evaluation "
        "bfedrec.explorer bfedrec.files bfedrec.loggers bfedrec.plugins bfedrec.privacy "
        "bfedrec.report bfedrec.runs bfedrec.section bfedrec.sweeps bfedrec.web "
        "consensus.encoding consensus.simulation consensus.storage"
    ),
    "bfedrec.attacks": (
        "bfedrec.compression bfedrec.learning bfedrec.parts bfedrec.section bfedrec.streams "
        "consensus.ledger consensus.registry"
    ),
    "bfedrec.baselines": (
        "bfedrec.config bfedrec.data bfedrec.evaluation bfedrec.learning bfedrec.runs "
        "bfedrec.streams bfedrec.threads"
    ),
    "bfedrec.cli": (
        "bfedrec.api bfedrec.config bfedrec.connections bfedrec.data bfedrec.evaluation "
        "bfedrec.explorer bfedrec.files bfedrec.learning bfedrec.merchants bfedrec.parts "
        "bfedrec.plaintext bfedrec.plugins bfedrec.privacy bfedrec.report bfedrec.runs "
        "bfedrec.screen bfedrec.streams bfedrec.sweeps bfedrec.web consensus.adversary "
        "consensus.encoding consensus.ethereum consensus.protocols consensus.simulation "
        "consensus.storage consensus.torture"
    ),
    "bfedrec.compression": (
        "bfedrec.aggregation bfedrec.learning bfedrec.parts bfedrec.section bfedrec.threads "
        "consensus.registry"
    ),
    "bfedrec.config": (
        "bfedrec.aggregation bfedrec.attacks bfedrec.compression bfedrec.data bfedrec.evaluation "
        "bfedrec.learning bfedrec.loggers bfedrec.plugins bfedrec.privacy bfedrec.section "
        "bfedrec.streams consensus.adversary consensus.faults consensus.ledger consensus.network "
        "consensus.protocols consensus.records consensus.registry consensus.storage"
    ),
    "bfedrec.data": "bfedrec.plaintext bfedrec.section consensus.registry consensus.storage",
    "bfedrec.evaluation": "bfedrec.data bfedrec.parts bfedrec.threads consensus.registry",
    "bfedrec.explorer": (
        "bfedrec.attacks bfedrec.config bfedrec.data bfedrec.evaluation bfedrec.federation "
        "bfedrec.learning bfedrec.plugins bfedrec.runs bfedrec.section bfedrec.streams "
        "bfedrec.sweeps consensus.adversary consensus.audit consensus.encoding consensus.faults "
        "consensus.ledger consensus.protocols consensus.records consensus.simulation "
        "consensus.storage consensus.torture"
    ),
    "bfedrec.extending": (
        "bfedrec.aggregation bfedrec.attacks bfedrec.compression bfedrec.data bfedrec.evaluation "
        "bfedrec.learning bfedrec.loggers bfedrec.parts bfedrec.privacy bfedrec.report "
        "bfedrec.sweeps consensus.adversary consensus.ledger consensus.server"
    ),
    "bfedrec.federation": (
        "bfedrec.aggregation bfedrec.attacks bfedrec.compression bfedrec.config bfedrec.data "
        "bfedrec.evaluation bfedrec.learning bfedrec.privacy bfedrec.streams bfedrec.threads "
        "consensus.adversary consensus.crypto consensus.encoding consensus.faults "
        "consensus.ledger consensus.network consensus.protocols consensus.records "
        "consensus.simulation"
    ),
    "bfedrec.learning": (
        "bfedrec.parts bfedrec.section bfedrec.threads consensus.ledger consensus.registry"
    ),
    "bfedrec.loggers": "consensus.registry",
    "bfedrec.merchants": (
        "bfedrec.aggregation bfedrec.config bfedrec.connections bfedrec.data bfedrec.evaluation "
        "bfedrec.federation bfedrec.files bfedrec.learning bfedrec.streams consensus.adversary "
        "consensus.answers consensus.application consensus.crypto consensus.encoding "
        "consensus.ethereum consensus.ledger consensus.network consensus.protocols "
        "consensus.records consensus.registry consensus.simulation consensus.storage"
    ),
    "bfedrec.parts": "bfedrec.section consensus.registry",
    "bfedrec.privacy": (
        "bfedrec.aggregation bfedrec.compression bfedrec.learning bfedrec.parts bfedrec.section "
        "bfedrec.threads consensus.registry"
    ),
    "bfedrec.report": (
        "bfedrec.aggregation bfedrec.compression bfedrec.config bfedrec.data bfedrec.evaluation "
        "bfedrec.files bfedrec.merchants bfedrec.plaintext bfedrec.privacy bfedrec.runs "
        "bfedrec.section bfedrec.sweeps bfedrec.templating consensus.adversary consensus.audit "
        "consensus.encoding consensus.faults consensus.ledger consensus.protocols "
        "consensus.records consensus.registry consensus.torture"
    ),
    "bfedrec.runs": (
        "bfedrec.attacks bfedrec.config bfedrec.data bfedrec.evaluation bfedrec.federation "
        "bfedrec.files bfedrec.learning bfedrec.loggers bfedrec.plugins bfedrec.privacy "
        "bfedrec.screen bfedrec.streams bfedrec.threads consensus.audit consensus.encoding "
        "consensus.faults consensus.ledger consensus.network consensus.protocols "
        "consensus.records consensus.simulation consensus.storage"
    ),
    "bfedrec.sweeps": (
        "bfedrec.baselines bfedrec.config bfedrec.data bfedrec.evaluation bfedrec.federation "
        "bfedrec.files bfedrec.learning bfedrec.plugins bfedrec.runs bfedrec.section "
        "bfedrec.streams bfedrec.threads consensus.registry consensus.storage consensus.workers"
    ),
    "bfedrec.web": (
        "bfedrec.config bfedrec.connections bfedrec.data bfedrec.evaluation bfedrec.explorer "
        "bfedrec.files bfedrec.merchants bfedrec.plaintext bfedrec.runs bfedrec.templating "
        "consensus.encoding consensus.ethereum consensus.simulation consensus.storage "
        "consensus.torture"
    ),
    "consensus.adversary": (
        "consensus.application consensus.crypto consensus.encoding consensus.faults "
        "consensus.ledger consensus.records consensus.registry consensus.server"
    ),
    "consensus.application": "consensus.records",
    "consensus.audit": (
        "consensus.application consensus.encoding consensus.ledger consensus.protocols "
        "consensus.records consensus.storage"
    ),
    "consensus.ethereum": "consensus.answers consensus.encoding",
    "consensus.faults": "consensus.server",
    "consensus.ledger": (
        "consensus.application consensus.crypto consensus.encoding consensus.records "
        "consensus.registry"
    ),
    "consensus.network": "consensus.faults consensus.server",
    "consensus.protocols": "consensus.ledger consensus.records",
    "consensus.protocols.bft": (
        "consensus.crypto consensus.ledger consensus.records consensus.server"
    ),
    "consensus.protocols.hotstuff": (
        "consensus.ledger consensus.protocols.bft consensus.records consensus.server"
    ),
    "consensus.protocols.paper": "consensus.ledger consensus.records consensus.server",
    "consensus.protocols.tendermint": (
        "consensus.ledger consensus.protocols.bft consensus.records consensus.server"
    ),
    "consensus.records": "consensus.crypto consensus.encoding",
    "consensus.server": (
        "consensus.application consensus.crypto consensus.encoding consensus.ledger "
        "consensus.records"
    ),
    "consensus.simulation": (
        "consensus.adversary consensus.application consensus.crypto consensus.encoding "
        "consensus.faults consensus.ledger consensus.network consensus.protocols "
        "consensus.records consensus.server"
    ),
    "consensus.storage": "consensus.answers consensus.encoding consensus.records",
    "consensus.torture": (
        "consensus.adversary consensus.application consensus.crypto consensus.encoding "
        "consensus.faults consensus.ledger consensus.network consensus.protocols "
        "consensus.protocols.bft consensus.protocols.hotstuff consensus.protocols.tendermint "
        "consensus.records consensus.registry consensus.server consensus.simulation "
        "consensus.workers"
    ),
}


def modules() -> dict[str, Path]:
    """Every module of the two packages but the packages themselves, by its dotted name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for package in ("bfedrec", "consensus")
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.name != "__init__.py"
    }


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of ours that a file imports, wherever the statement stands."""
    for node in ast.walk(tree_of(path)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if name in known)


def room(module: str) -> str:
    """The room of a module; each protocol is a room, and a module outside rooms its own."""
    parts = module.split(".")
    return ".".join(parts[: 3 if parts[1] == "protocols" and len(parts) > 3 else 2])


def circles(arrows: dict[str, set[str]]) -> list[str]:
    """The nodes that lie on a circle: what is left when leaves are taken away at either end."""
    left = {node: set(targets) - {node} for node, targets in arrows.items()}
    while True:
        reached = set().union(*left.values()) if left else set()
        gone = {node for node, targets in left.items() if not targets or node not in reached}
        if not gone:
            return sorted(left)
        left = {node: targets - gone for node, targets in left.items() if node not in gone}


def test_arrows_between_rooms_are_those_of_the_table() -> None:
    known = modules()
    found: dict[str, set[str]] = {}
    for module, path in known.items():
        targets = {room(name) for name in imported(path, known)} - {room(module)}
        if targets:
            found.setdefault(room(module), set()).update(targets)
    assert found == {name: set(targets.split()) for name, targets in ARROWS.items()}
    assert circles(found) == []


def test_no_module_lies_on_a_circle_of_imports() -> None:
    known = modules()
    assert circles({module: set(imported(path, known)) for module, path in known.items()}) == []


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["b", "c"]


def test_a_room_is_a_docstring() -> None:
    for package in ("bfedrec", "consensus"):
        for path in (ROOT / package).rglob("__init__.py"):
            if path.parent == ROOT / "bfedrec":
                continue  # the Python interface
            body = tree_of(path).body
            assert len(body) == 1, path
            assert isinstance(body[0], ast.Expr), path
            assert isinstance(body[0].value, ast.Constant), path


# -- lengths --------------------------------------------------------------------------------------

FUNCTION_LINES, SOURCE_LINES, TEST_LINES = 70, 400, 600


def above_the_limits(root: Path) -> Iterator[str]:
    """The files (`path`) and functions (`path:name`) below ``root`` that are too long; a function
    is counted from its ``def`` to its last line, docstring included and decorators not."""
    for folder in ("bfedrec", "consensus", "tests", ".ci"):
        for path in sorted((root / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            name = path.relative_to(root).as_posix()
            if len(text.splitlines()) > (TEST_LINES if folder == "tests" else SOURCE_LINES):
                yield name
            for node in ast.walk(tree_of(path)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    assert node.end_lineno is not None
                    if node.end_lineno - node.lineno + 1 > FUNCTION_LINES:
                        yield f"{name}:{node.name}"


def test_files_and_functions_keep_to_the_limits() -> None:
    assert list(above_the_limits(ROOT)) == []


@pytest.mark.parametrize(("folder", "limit"), [("consensus", SOURCE_LINES), ("tests", TEST_LINES)])
def test_what_is_a_line_too_long_is_found(tmp_path: Path, folder: str, limit: int) -> None:
    (tmp_path / folder / "room").mkdir(parents=True)

    def file_of(name: str, lines: int, function: int) -> None:
        body = ["class Thing:", "    @property", "    def value(self):"]
        body += ["        pass"] * (function - 1)
        (tmp_path / folder / "room" / name).write_text(
            "\n".join(body + ["#"] * (lines - len(body)))
        )

    file_of("fits.py", limit, FUNCTION_LINES)
    assert list(above_the_limits(tmp_path)) == []
    file_of("long.py", limit + 1, FUNCTION_LINES)
    file_of("deep.py", limit, FUNCTION_LINES + 1)
    assert list(above_the_limits(tmp_path)) == [
        f"{folder}/room/deep.py:value",
        f"{folder}/room/long.py",
    ]
