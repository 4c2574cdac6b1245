"""The reference has all that there is: names, options, parts, commands, and today's pictures."""

from __future__ import annotations

import argparse
import re
from importlib import import_module

import pytest

import bfedrec
from bfedrec.cli.main import COMMANDS
from bfedrec.config.help import options as all_options
from bfedrec.runs.messages import COLUMNS
from consensus.network.traced import LOST
from consensus.registry import Registry
from docs.generator import commands, interface, options, parts, rooms_picture, traces
from docs.generator.pictures import FOLDER, pictures
from docs.generator.sources import ROOT

DIRECTIVE = re.compile(r"^\.\. (?:autoclass|autofunction|py:class):: (\S+)$", re.M)
REGISTRY = re.compile(r"^([A-Z]\w*): [^\n=]*Registry\[[^\n=]*= Registry\(", re.M)


def test_every_public_name_has_an_entry() -> None:
    found = DIRECTIVE.findall(interface.page())
    wanted = {f"bfedrec.{name}" for name in bfedrec.__all__}
    assert wanted <= set(found)
    assert wanted == {f"bfedrec.{name}" for name in interface.names()}
    assert len(found) == len(set(found))
    assert {"bfedrec.api.explorer.Explorer", "bfedrec.api.making.make"} <= set(found)


def test_a_new_public_name_gets_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bfedrec._HOMES, "audited", "bfedrec.runs.auditing")
    assert "bfedrec.audited" in DIRECTIVE.findall(interface.page())


def test_every_option_has_an_entry_with_type_and_default() -> None:
    page = options.page()
    for key, option in all_options().items():
        _, _, rest = page.partition(f"\n````{{confval}} {key}\n")
        entry = rest.partition("\n````")[0]
        assert f":default: ``{option.default}``" in entry
        assert ":type: " in entry
        assert len(entry.partition("\n\n")[2].strip()) > 3, f"{key}: no meaning"


def test_every_registry_has_a_page_with_its_parts() -> None:
    found = {
        f"{'.'.join(path.relative_to(ROOT).with_suffix('').parts)}:{name}"
        for package in ("bfedrec", "consensus")
        for path in (ROOT / package).rglob("*.py")
        for name in REGISTRY.findall(path.read_text(encoding="utf-8"))
    }
    assert len(found) > 15
    assert found == parts.registries()
    pages = parts.pages()
    for kind in parts.KINDS:
        assert kind.parts, kind.page
        for name in kind.parts:
            assert f"## `{name}`\n" in pages[f"{parts.FOLDER}/{kind.page}"]
            assert f"`{name}`" in pages[f"{parts.FOLDER}/index"]


def test_a_registry_without_a_page_is_seen() -> None:
    assert REGISTRY.findall('NEW: Final[Registry[type[A]]] = Registry("new")\n') == ["NEW"]
    assert isinstance(Registry("new"), Registry)


def test_every_command_has_a_page_with_its_arguments() -> None:
    pages = commands.pages()
    for name in COMMANDS:
        page = pages[f"{commands.FOLDER}/{name}"]
        for parser in commands.parsers(name):
            assert f"{{program}} {parser.prog}\n" in page
            for action in parser._actions:
                hidden = isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
                for word in () if hidden else action.option_strings or (action.metavar,):
                    assert f"{word}" in page, f"{parser.prog}: {word}"
    assert "bfedrec merchants storage" in pages[f"{commands.FOLDER}/merchants"]


@pytest.mark.parametrize("name", ["round.svg", "rooms.svg"])
def test_a_picture_is_of_today(name: str) -> None:
    committed = (FOLDER / name).read_text(encoding="utf-8")
    assert committed == pictures()[name], "python -m docs.generator.pictures"
    assert len(committed.encode()) < 30_000
    assert "prefers-color-scheme:dark" in committed


def test_the_rooms_stand_above_what_they_import() -> None:
    cli, api, data = "bfedrec.cli", "bfedrec.api", "bfedrec.data"
    table = {cli: f"{api} {data}", api: f"{data} bfedrec.section"}
    rooms = rooms_picture.rooms_of(table)
    assert rooms == {cli: {api, data}, api: {data}, data: set()}
    assert rooms_picture.layers_of(rooms) == {data: 0, api: 1, cli: 2}
    assert rooms_picture.reduced(rooms)[cli] == {api}


def test_the_interfaces_are_there() -> None:
    for kind in parts.KINDS:
        if kind.interface:
            module, _, name = kind.interface.partition(":")
            assert getattr(import_module(module), name).__doc__


def test_every_column_of_a_trace_has_a_row() -> None:
    page = traces.page()
    for each in COLUMNS:
        optional = "yes" if each.optional else ""
        assert f"| `{each.name}` | {each.kind} | {optional} | {each.meaning} |\n" in page
    for name, meaning in LOST.items():
        assert f"| `{name}` | {meaning} |\n" in page
