"""The reference of the command line: every command with its arguments, from the parsers."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

from bfedrec.cli.main import COMMANDS, _parser
from bfedrec.config.help import options
from docs.generator.markdown import directive, table, with_options

FOLDER = "reference/commands"
WIDTH = 88
"""Width of the usage, in letters."""


def parsers(command: str) -> Iterator[argparse.ArgumentParser]:
    """The parser of a command, and those of the commands within it."""
    yield from _within(_chosen(_parser(command))[command])


def pages() -> dict[str, str]:
    """A page for each command, by the page's name."""
    rows = [(f"[`bfedrec {name}`]({name}.md)", _sentence(told)) for name, told in COMMANDS.items()]
    head = "Every command with its arguments, as `bfedrec COMMAND --help` prints them."
    listed = table(("command", "what it does"), rows)
    tree = "\n".join(["```{toctree}", ":hidden:", "", *COMMANDS, "```"])
    made = {f"{FOLDER}/{name}": page(name, told) for name, told in COMMANDS.items()}
    return {f"{FOLDER}/index": f"# Commands\n\n{head}\n\n{listed}\n{tree}\n", **made}


def page(command: str, told: str) -> str:
    """The page of a command, with those within it."""
    lines = [f"# `bfedrec {command}`\n", f"{_sentence(told)}\n"]
    for place, parser in enumerate(parsers(command)):
        if place:
            lines.append(f"## `{parser.prog}`\n")
        lines += _entry(parser, told)
    if command == "run":
        lines.append("`KEY=VALUE` changes any of the [options of a config](../config.md).\n")
    return "\n".join(lines)


def _entry(parser: argparse.ArgumentParser, told: str) -> Iterator[str]:
    known = options()
    if parser.description and parser.description.rstrip(".") != _sentence(told).rstrip("."):
        yield f"{with_options(parser.description, known)}\n"
    yield f"```text\n{_usage(parser)}\n```\n"
    yield f"```{{program}} {parser.prog}\n```\n"
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        yield directive("option", _form(action, parser), (), with_options(_help(action), known))
    if parser.epilog:
        yield f"{with_options(parser.epilog, known)}\n"


def _usage(parser: argparse.ArgumentParser) -> str:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(WIDTH)  # the only word that argparse takes about it
    try:
        return parser.format_usage().removeprefix("usage: ").rstrip()
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _form(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """An argument as it is written: its names, and what stands behind them."""
    formatter = argparse.HelpFormatter(parser.prog)
    if not action.option_strings:
        return formatter._metavar_formatter(action, action.dest)(1)[0]
    value = ""
    if action.nargs != 0:
        value = f" {formatter._format_args(action, action.dest.upper())}"
    return ", ".join(f"{name}{value}" for name in action.option_strings)


def _help(action: argparse.Action) -> str:
    text = action.help or ""
    if "%(" in text or "%%" in text:
        text %= vars(action)
    return text


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _chosen(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands within a parser by their names; none for one without."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _within(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for inner in _chosen(parser).values():
        yield from _within(inner)
