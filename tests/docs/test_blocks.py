"""Every code block of every page: what it is, and that it would do what the page says."""

from __future__ import annotations

import tomllib

import pytest
import yaml

from docs.generator.blocks import Block, blocks
from docs.generator.sources import ROOT, pages
from tests.helpers.shell import Unknown, commands, problem

TEXTS = {"text", "toml", "yaml", "dockerfile", "python", "sh", "{toctree}"}
"""The languages of blocks; a toctree is the site's own."""


def all_blocks() -> list[tuple[str, Block]]:
    """Every block of every page in Markdown, with the page."""
    return [
        (name, block)
        for name in pages()
        if name.endswith(".md")
        for block in blocks((ROOT / name).read_text(encoding="utf-8"))
    ]


BLOCKS = all_blocks()
GUIDE = "docs/extending.md"
"""Its commands need the parts that it shows: `tests/test_extending.py` checks them."""
SHELL = [
    (name, block)
    for name, block in BLOCKS
    if block.language == "sh" and name != GUIDE and not block.not_run
]
NOT_RUN = 9
"""The number of blocks that say that they are not run; one more needs a reason."""


def ids(found: list[tuple[str, Block]]) -> list[str]:
    """A name for the test of each block: its page and its line."""
    return [f"{name}:{block.line}" for name, block in found]


def test_every_block_names_its_language() -> None:
    wrong = [f"{name}:{b.line}: {b.language!r}" for name, b in BLOCKS if b.language not in TEXTS]
    assert not wrong, "\n".join(wrong)
    assert len(SHELL) > 50


@pytest.mark.parametrize(("name", "block"), SHELL, ids=ids(SHELL))
def test_the_commands_of_a_block_would_be_taken(
    name: str, block: Block, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    try:
        told = [(words, problem(words)) for words in commands(block.text)]
    except (Unknown, ValueError) as error:
        pytest.fail(f"{error}: say below the block '*Not run: the reason.*'")
    wrong = [f"{' '.join(words)}: {text}" for words, text in told if text]
    assert not wrong, "\n".join(wrong)


def test_a_block_of_data_can_be_read() -> None:
    for name, block in BLOCKS:
        if block.language == "yaml":
            yaml.safe_load(block.text)
        if block.language == "toml":
            assert tomllib.loads(block.text), name


def test_the_blocks_that_are_not_run_are_counted() -> None:
    found = [f"{name}:{block.line}: {block.not_run}" for name, block in BLOCKS if block.not_run]
    assert len(found) == NOT_RUN, "\n".join(found)


def test_a_mark_is_read_where_it_is_seen() -> None:
    text = "# A\n\n    cd x\n\n*Not run: needs\nDocker.*\n\n```sh\nmake\n```\n\nNot run: never.\n"
    one, other = blocks(text)
    assert (one.not_run, one.indented, one.language) == ("needs Docker", True, "sh")
    assert (other.not_run, other.indented, other.line, other.end) == ("", False, 8, 11)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("bfedrec run experiments/ml-1m.yaml model.rank=4", ""),
        ("bfedrec run experiments/ml-1m.yaml modle.rank=4", "did you mean 'model'?"),
        ("bfedrec run experiments/no.yaml", "no.yaml"),
        ("bfedrec runn experiments/ml-1m.yaml", "invalid choice"),
        ("bfedrec audit RUN --haed X", "unrecognized arguments"),
        ("bfedrec sweep experiments/ml-1m.yaml servers.malicious=0,1/3 --seeds 0-2", ""),
        ("bfedrec sweep experiments/ml-1m.yaml servers.malicios=0,1/3", "servers.malicious"),
        ("bfedrec tune experiments/ml-1m.yaml training.l2=1..0 --trials 2", "1..0"),
        ("bfedrec data check a.csv data.file.keep=transaction", "data.file.keep"),
        ("bfedrec data check csv data.csv.usr=a", "data.csv.user"),
        ("bfedrec figure accurcy", "accuracy"),
        ("bfedrec run --help", ""),
        ("make tset", "the Makefile has no tset"),
        ("make paired AGAINST=../before", ""),
        ("make paired AGIANST=../before", "AGIANST"),
        ("pip install 'bfedrec[rya]'", "rya"),
        ("python -m tests.bench.nothing", "tests.bench.nothing"),
        ("pytest -s tests/nothing.py", "tests/nothing.py"),
    ],
)
def test_a_wrong_command_is_found(line: str, told: str) -> None:
    (words,) = commands(line)
    found = problem(words)
    assert (told in found) if told else not found


def test_commands_are_told_apart() -> None:
    text = "A=b bfedrec data list > x; make run \\\n  && .venv/bin/bfedrec version  # why\n"
    assert list(commands(text)) == [
        ["bfedrec", "data", "list"],
        ["make", "run"],
        ["bfedrec", "version"],
    ]
    with pytest.raises(Unknown):
        list(commands("sign() { x; }"))
    with pytest.raises(Unknown):
        problem(["curl", "-sS"])
