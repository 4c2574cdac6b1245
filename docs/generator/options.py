"""The reference of a config: every option with its type, default and meaning, as in the help."""

from __future__ import annotations

from collections.abc import Iterator

from bfedrec.config.help import Option, options, sections
from docs.generator.markdown import directive, escaped, with_options

PAGE = "reference/config"
HEAD = """# Options of a config

Every option of an experiment, in a YAML file or as `KEY=VALUE` behind a command. Written from the
models that read them, as `bfedrec run --help` is.

"""


def page() -> str:
    """The page with all options, a section for each of theirs."""
    return HEAD + "\n".join(_sections())


def _sections() -> Iterator[str]:
    known = options()
    for section in sections():
        if not section.options:
            continue
        yield f"## {f'`{section.name}`' if section.name else 'At the top'}\n"
        yield f"{with_options(section.title, known)}\n"
        for option in section.options:
            yield _entry(option, known)


def _entry(option: Option, known: dict[str, Option]) -> str:
    told = [("type", escaped(option.type)), ("default", f"``{option.default}``")]
    return directive("confval", option.key, told, with_options(option.description, known))
