"""The commands of a page's shell blocks, held against the parsers, the configs and the files."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stderr
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

from bfedrec.cli import make as make_command
from bfedrec.cli.main import _parse
from bfedrec.cli.tune import _plan
from bfedrec.config.load import load
from bfedrec.data.source import DATA_SETS
from bfedrec.report import registry
from bfedrec.sweeps import sweep as sweeps
from consensus.encoding.cid import cid_text, node_cid

ROOT = Path(__file__).resolve().parents[2]
BETWEEN = {";", "&&", "||", "|"}
"""Words that end a command."""
FILES = {">", ">>", "<"}
"""Words before the name of a file."""
SILENT = ("cd", "export")
"""Words of the shell's own that change nothing to be checked."""
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


class Unknown(ValueError):
    """A command that is none of those that can be checked."""


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a block; its redirections are left out, and the folder of a
    program. Raises ValueError for what is more than a list of commands."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        skip = False
        for word in [*lexer, ";"]:
            if word in BETWEEN:
                if words:
                    yield words
                words = []
            elif skip or word in FILES:
                skip = not skip
            elif set(word) <= set("();<>|&{}"):
                raise Unknown(f"{line.strip()}: {word}")
            elif words or not re.fullmatch(r"[A-Z_]+=.*", word):
                words.append(word.removeprefix(".venv/bin/") if not words else word)


def problem(words: list[str]) -> str:
    """A reason why a command would be refused; empty where it would not. Raises Unknown for
    another program than those of this project, of pip, pytest and make."""
    program, *rest = words
    if program in SILENT:
        return ""
    if program == "bfedrec":
        return refused(rest)
    if program == "make":
        return _unmade(rest)
    if program in ("python", "python3") and rest[:1] == ["-m"]:
        module = rest[1]
        if module == "pip":
            return _uninstallable(rest[2:])
        return "" if find_spec(module) else f"there is no module {module}"
    if program == "pip":
        return _uninstallable(rest)
    if program == "pytest":
        paths = [word for word in rest if word.startswith("tests/")]
        gone = [word for word in paths if not (ROOT / word.partition("::")[0]).exists()]
        return f"there is no {gone[0]}" if gone else ""
    raise Unknown(" ".join(words))


def refused(words: list[str]) -> str:
    """What `bfedrec` would say of these words before it does anything; empty where it would go
    on. Paths of experiments are those of the repository."""
    errors = StringIO()
    with redirect_stderr(errors):
        try:
            parsed = _parse([_real(word) for word in words])
        except SystemExit as ended:
            return errors.getvalue() if ended.code else ""
    try:
        _check(parsed)
    except ValueError as error:
        return str(error)
    return ""


def _real(word: str) -> str:
    """A word with the path of an experiment made absolute, and NAME in it the first there is."""
    if word == "bafyrei...":  # a head, as a page writes it
        return cid_text(node_cid(b""))
    if word.startswith("experiments/"):
        path = ROOT / word
        if path.name == "NAME.yaml":
            path = sorted(path.parent.glob("*.yaml"))[0]
        return str(path)
    return word


def _check(parsed: Any) -> None:
    """Read what a command would read first. Raises ValueError."""
    command = parsed.command
    if command in ("run", "learn"):
        load(parsed.config, [_given(word) for word in parsed.overrides])
    elif command == "sweep":
        sweeps.plan(parsed.config, parsed.overrides, sweeps.parse_seeds(parsed.seeds), None)
    elif command == "tune":
        _plan(parsed)
    elif command == "data" and getattr(parsed, "overrides", None):
        own = parsed.name in DATA_SETS
        data = [f"data.dataset={parsed.name if own else 'file'}"]
        data += [] if own and parsed.name != "csv" else [f"data.{data[0][13:]}.path=FILE"]
        load(None, [*data, *parsed.overrides])
    elif command == "table" and parsed.name:
        registry.choose("table", parsed.name, registry.tables())
    elif command == "figure" and parsed.name:
        registry.choose("figure", parsed.name, registry.figures())
    elif command == "make":
        make_command._chosen(parsed.overrides)


def _given(word: str) -> str:
    """An override as it is; the options of a file that a reader is to have are left out."""
    return "seed=0" if word.startswith("@") and not Path(word[1:]).exists() else word


def _unmade(words: list[str]) -> str:
    for word in words:
        name, sign, _ = word.partition("=")
        form = (
            rf"\$\({name}\)|^{name}\b"
            if sign
            else rf"^(?:[\w-]+ )*{re.escape(name)}(?: [\w-]+)*:(?!=)"
        )
        if not re.search(form, MAKEFILE, re.MULTILINE):
            return f"the Makefile has no {word}"
    return ""


def _uninstallable(words: list[str]) -> str:
    wanted = re.findall(r"\[([a-z,]+)\]", " ".join(words))
    unknown = {each for names in wanted for each in names.split(",")} - set(EXTRAS)
    return f"there is no extra {', '.join(sorted(unknown))}" if unknown else ""
