"""The registries of tables and figures: their names, order, groups and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bfedrec.cli.main import main
from bfedrec.config.yaml_core import ConfigError
from bfedrec.report import registry
from bfedrec.report.artefact import Made, Request
from bfedrec.report.registry import FIGURES, TABLES, choose, register_figure, register_table
from bfedrec.report.table import Column, Table
from consensus.registry import modules_of


@pytest.fixture(autouse=True)
def own_parts() -> Iterator[None]:
    """Registries with all parts of the project, restored after the test."""
    registry.tables()
    registry.figures()
    with TABLES.restored(), FIGURES.restored():
        yield


def make(request: Request) -> Made:
    return Made(Table("x", "X", (Column("word", "word"),), [{"word": "a"}]))


def nothing(*rest: object) -> list[dict[str, int]]:
    return []


def test_every_file_registers_a_part_of_its_name() -> None:
    for kind, known in (("table", registry.tables()), ("figure", registry.figures())):
        room = registry.ROOMS[kind]
        assert sorted(f"{room}.{name}" for name in known) == modules_of(room)


def test_parts_stand_by_place_and_then_by_registration() -> None:
    before = list(registry.tables())
    for name, place in (("y", registry.LAST), ("x", registry.LAST), ("first", 0)):
        register_table(name, "something", make, place=place)
    assert list(registry.tables()) == ["first", *before, "y", "x"]


def test_a_group_and_all_name_several() -> None:
    figures = registry.figures()
    names = [kind.name for kind in choose("make", "rq3", figures)]
    assert names == ["fig3", "cost", "committees", "third", "recovery"]
    assert choose("make", "all", figures) == list(figures.values())
    assert registry.words_for(figures) == [*figures, "rq3", "privacy", "all"]


@pytest.mark.parametrize(("word", "near"), [("rq4", "rq3"), ("acuracy", "accuracy")])
def test_an_unknown_name_is_refused_with_the_nearest(word: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"make '{word}': not one of .*; did you mean '{near}'"):
        choose("make", word, registry.figures())


def test_a_name_is_given_once() -> None:
    register_table("x", "something", make)
    with pytest.raises(ValueError, match="table 'x' is registered twice"):
        register_table("x", "something", make)
    with pytest.raises(ValueError, match="'x': a table and a figure cannot have one name"):
        register_figure("x", "something", tuple, nothing, nothing)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"'cost' is registered twice, by .*\.cost and by te"):
        register_figure("cost", "something", tuple, nothing, nothing)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'A B': a name is"):
        register_table("A B", "something", make)


def test_all_tables_are_made_by_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "import_parts", lambda room: None)
    TABLES._parts = {}
    for name, lacking, wrong in (("a", "", ""), ("b", "", "a count"), ("c", "a run", "")):
        table = Table(name, name, (Column("word", "word"),), [{"word": name}])
        made = Made(table, lacking, wrong)
        register_table(name, "a word", lambda _, made=made: made)  # type: ignore[misc]
    assert main(["table", "all", "--out", str(tmp_path), "--format", "csv"]) == 1
    told = capsys.readouterr()
    assert told.out == "word\na\nword\nb\nword\nc\n"
    assert "b: a count\n" in told.err
    assert "c: a run\n" in told.err
