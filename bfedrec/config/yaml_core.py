"""Strict YAML for configs: YAML 1.2 numbers, no repeated keys, bounded in size, errors of one
line."""

from __future__ import annotations

from typing import Any, Final

import yaml

try:  # libyaml's parser takes a tenth of the time, where PyYAML was built with it
    from yaml import CSafeLoader as _Fast
except ImportError:
    from yaml import SafeLoader as _Fast  # type: ignore[assignment]

MOST_BYTES: Final = 2**17
"""Longest text of a config, in bytes; all options of one written out take 6 KB, and a list of the
stakes of 10,000 servers 80 KB."""
MOST_NODES: Final = 2**14
"""Greatest number of values, lists and maps in a config."""
MOST_WRITTEN_OUT: Final = 2**17
"""Greatest length in characters of what the aliases of a config stand for, all of them together: a
config with aliases is no longer than one may be without."""
MOST_DIGITS: Final = 20
"""Digits of the longest integer; the greatest seed, 2**63 - 1, has 19."""
DEEPEST: Final = 32
"""Deepest nesting of lists and maps; configs of ours have five levels."""

TOO_DEEP: Final = f"nested deeper than {DEEPEST} levels"
LIBYAML_TOO_DEEP: Final = "exceeded maximum nesting depth"
"""libyaml's words for more than a thousand levels; it reads ahead, and may find them first."""

COMMAND_LINE = "command line"


class ConfigError(ValueError):
    """Error: an experiment config that cannot be used; its text is one line for people."""


class _Loader(_Fast):
    """A loader for YAML 1.2's core schema: `1e-3` is a number, `no` a word; a repeated key is an
    error."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - the base class declares it so

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a plain word", key_node.start_mark
                )
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key_node.value!r} is given twice", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _check_limits(text: str) -> None:
    """Raise ComposerError for a text of more values, deeper nesting or longer aliases than there
    may be, before anything is made of it."""
    nodes = written = 0  # characters so far, with every alias replaced by what it stands for
    lengths: dict[str, int] = {}  # characters that an anchor stands for, once it has ended
    inside: list[tuple[str | None, int]] = []  # collections: anchor, characters before
    for event in yaml.parse(text, _Fast):
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in inside):
                raise _refused(f"*{event.anchor} stands within what it stands for", event)
            written += lengths.get(event.anchor or "", 0)
            if written > MOST_WRITTEN_OUT:
                raise _refused(
                    f"aliases stand for more than {MOST_WRITTEN_OUT:,} characters", event
                )
        elif isinstance(event, yaml.NodeEvent):
            nodes += 1
            if nodes > MOST_NODES:
                raise _refused(f"more than {MOST_NODES:,} values, lists and maps", event)
            if len(inside) == DEEPEST:
                raise _refused(TOO_DEEP, event)
            before = written
            written += 1 + len(getattr(event, "value", ""))
            if isinstance(event, yaml.CollectionStartEvent):
                inside.append((event.anchor, before))
            elif event.anchor is not None:
                lengths[event.anchor] = written - before
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = inside.pop()
            if anchor is not None:
                lengths[anchor] = written - before


def _refused(reason: str, event: Any) -> yaml.composer.ComposerError:
    return yaml.composer.ComposerError(None, None, reason, event.start_mark)


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    if len(node.value) > MOST_DIGITS:
        raise yaml.constructor.ConstructorError(
            None, None, f"an integer of {len(node.value):,} digits", node.start_mark
        )
    return int(node.value, 10)


def _number(loader: _Loader, node: yaml.ScalarNode) -> float:
    return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _parse(text: str, source: str) -> Any:
    if len(text) > MOST_BYTES:
        raise ConfigError(f"{source}: longer than {MOST_BYTES:,} characters")
    try:
        _check_limits(text)
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        where = _place(text, error.problem_mark or error.context_mark)
        problem = TOO_DEEP if error.problem == LIBYAML_TOO_DEEP else error.problem or error.context
        raise ConfigError(f"{source}{where}: {_one_line(problem)}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise ConfigError(f"{source}: not YAML: {_one_line(reason)}") from None


def _place(text: str, mark: Any) -> str:
    """The place of an error in words; one beyond the end is at the end."""
    if mark is None:
        return ""
    lines = text.split("\n")
    if mark.line < len(lines):
        return f", line {mark.line + 1}, column {mark.column + 1}"
    return f", line {len(lines)}, column {len(lines[-1]) + 1}"


def _one_line(value: object, limit: int = 160) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
