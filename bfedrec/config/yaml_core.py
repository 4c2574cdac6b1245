"""Strict YAML for configs: YAML 1.2 numbers, no repeated keys, bounded in size, errors of one
line."""

from __future__ import annotations

from typing import Any, Final

import yaml

MOST_BYTES: Final = 2**17
"""Longest text of a config, in bytes; all options of one written out take 6 KB, and a list of the
stakes of 10,000 servers 80 KB."""
MOST_NODES: Final = 2**14
"""Greatest number of values, lists and maps in a config; reading each takes 30 us, all of them half
a second."""
MOST_WRITTEN_OUT: Final = 2**17
"""Greatest length in characters of what the aliases of a config stand for, all of them together: a
config with aliases is no longer than one may be without."""
MOST_DIGITS: Final = 20
"""Digits of the longest integer; the greatest seed, 2**63 - 1, has 19."""
DEEPEST: Final = 32
"""Deepest nesting of lists and maps; configs of ours have five levels."""

COMMAND_LINE = "command line"


class ConfigError(ValueError):
    """Error: an experiment config that cannot be used; its text is one line for people."""


class _Loader(yaml.SafeLoader):
    """A loader for YAML 1.2's core schema: `1e-3` is a number, `no` a word; a repeated key is an
    error."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - the base class declares it so

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = 0
        self._written_out = 0
        """Characters of the document so far, with every alias replaced by what it stands for."""
        self._lengths: dict[int, int] = {}
        """Characters that a node with an anchor stands for, by its identity; only once it ends."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            return self._alias(super().compose_node(parent, index), event)
        if self._depth == DEEPEST:
            raise _refused(f"nested deeper than {DEEPEST} levels", event)
        if self._nodes == MOST_NODES:
            raise _refused(f"more than {MOST_NODES:,} values, lists and maps", event)
        self._nodes += 1
        before = self._written_out
        self._written_out += 1 + len(getattr(event, "value", ""))
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if event.anchor is not None:
            self._lengths[id(node)] = self._written_out - before
        return node

    def _alias(self, node: yaml.Node | None, event: yaml.AliasEvent) -> yaml.Node | None:
        """The node that an alias stands for; raises ComposerError if there is too much of it."""
        length = self._lengths.get(id(node))
        if length is None:
            raise _refused(f"*{event.anchor} stands within what it stands for", event)
        self._written_out += length
        if self._written_out > MOST_WRITTEN_OUT:
            raise _refused(f"aliases stand for more than {MOST_WRITTEN_OUT:,} characters", event)
        return node

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
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{source}{where}: {_one_line(error.problem or error.context)}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise ConfigError(f"{source}: not YAML: {_one_line(reason)}") from None


def _one_line(value: object, limit: int = 160) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
