"""Experiment configs: from YAML files and `key=value` overrides to a validated `Config`, and back.

Every error in an input ends as a `ConfigError` whose text is one line: it names the file (or the
command line), the dotted key, the value, what is allowed and the nearest known name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from bfedrec.config.centralised import reads
from bfedrec.config.help import choices, nearest, nearest_key, options
from bfedrec.config.schema import FIRST_DEFAULTS, Config
from bfedrec.config.shipped import located
from bfedrec.config.yaml_core import (
    COMMAND_LINE,
    DEEPEST,
    MOST_BYTES,
    ConfigError,
    _integer,
    _Loader,
    _number,
    _one_line,
    _parse,
)
from bfedrec.plugins import need_plugins
from bfedrec.section import Tree, flatten
from consensus.storage.regular import read_regular

MOST_BASES: Final = 16
"""Longest chain of files of which each is the base of the one before; ours have two."""
GREATEST: Final = 1e35
"""Greatest number of any option that is not an integer; the inverse is the smallest besides 0. Both
are well within float32, in which the model is trained."""

# How a node is spoken to, and which loggers follow: a resumed run may have others.
SURROUNDINGS = ("store.api", "store.timeout", "store.retries", "store.collect", "loggers")
_UNSET: Final = object()
"""The place of a value that a tree does not have."""
# What no result depends on. The seed stands beside the hash, so that runs of one setting share it.
NOT_HASHED = ("name", "seed", "store.kind", *SURROUNDINGS)


# --- reading YAML ---------------------------------------------------------------------------------


for _tag, _pattern, _first in (
    ("merge", r"<<", "<"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z"), list(_first)
    )
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


# --- loading --------------------------------------------------------------------------------------


def load(path: Path | str | None, overrides: Sequence[str] = ()) -> Config:
    """The config of a YAML file (None: the defaults), changed by overrides in their order.

    A path that is not there may be the name of a shipped experiment (`shipped.located`).
    A file may name another one as its `base` (a path relative to its own folder) and then holds
    only the options that differ. An override is `section.key=value`, with the value in YAML, or
    `@FILE`, which applies the options of another such file. Raises `ConfigError`, and `PluginError`
    where a plugin cannot be loaded.
    """
    need_plugins()
    tree: Tree = {}
    source = "defaults"
    if path is not None:
        tree, source = _read(located(Path(path)), ())
    return _changed(tree, source, overrides)


def changed(config: Config, overrides: Sequence[str], source: str) -> Config:
    """The config with some options changed, as if `load` read it from the output of `dump`.

    `source` names it in errors. Raises `ConfigError`.
    """
    return _changed(config.model_dump(mode="json"), source, overrides)


def _changed(tree: Tree, source: str, overrides: Sequence[str]) -> Config:
    overridden = []
    for text in overrides:
        if text.startswith("@"):
            other, name = _read(Path(text[1:]), ())
            tree, source = _merged(tree, other), f"{source} with {name}"
        else:
            overridden.append(_override(tree, text, source))
    return _validate(tree, source, overridden)


def _read(path: Path, above: tuple[Path, ...]) -> tuple[Tree, str]:
    """The options in a file and its bases, and the files' names for errors."""
    source = _one_line(path, 300)
    try:
        tree = _parse(read_regular(path, MOST_BYTES).decode(), source)
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{source}: not a text file in UTF-8") from None
    except ValueError as error:  # a NUL in the name
        raise ConfigError(f"{source}: {error}") from None
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{source}: expected `key: value` lines, got {_kind(tree)}")
    if "base" not in tree:
        return tree, source
    base = tree.pop("base")
    if not isinstance(base, str):
        raise ConfigError(f"{source}: base: {_show(base)}: expected the path of another config")
    below = path.parent / base
    try:
        circle = below.resolve() in (path.resolve(), *above)
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a NUL in the name
        raise ConfigError(f"{source}: base: {_show(base)}: {_one_line(error)}") from None
    if circle:
        raise ConfigError(f"{source}: base: {_show(base)}: the files are each other's base")
    if len(above) == MOST_BASES:
        raise ConfigError(f"{source}: base: {_show(base)}: more than {MOST_BASES} bases in a row")
    try:
        inherited, name = _read(below, (path.resolve(), *above))
    except ConfigError as error:
        raise ConfigError(f"{source}: base: {error}") from None
    return _merged(inherited, tree), f"{source} (base {name})"


def _merged(below: Tree, above: Tree) -> Tree:
    """`below` updated by `above`: sections are merged, all else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        both = isinstance(under, dict) and isinstance(value, dict)
        merged[key] = _merged(under, value) if both else value  # type: ignore[arg-type]
    return merged


def parse(text: str, source: str) -> Config:
    """Parse a config from YAML text; `source` names it in errors. Raises as `load`."""
    need_plugins()
    tree = _parse(text, source)
    if not isinstance(tree, dict):
        raise ConfigError(f"{source}: expected `key: value` lines, got {_kind(tree)}")
    return _validate(tree, source, [])


def split_override(text: str) -> tuple[str, str]:
    """Split `key=value` into the dotted key and the value's text. Raises `ConfigError`."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")):
        raise ConfigError(f"{COMMAND_LINE}: {_one_line(text)!r}: expected key=value")
    return key, value


def _override(tree: Tree, text: str, source: str) -> str:
    """Put `key=value` into the tree and return the key."""
    key, value = split_override(text)
    *sections, leaf = key.split(".")
    if len(sections) > DEEPEST:
        raise ConfigError(f"{COMMAND_LINE}: {_one_line(key)}: unknown key")
    place = tree
    for depth, section in enumerate(sections, start=1):
        inner = place.get(section)
        if inner is None:
            inner = {}
        if not isinstance(inner, dict):
            name = ".".join(sections[:depth])
            raise ConfigError(f"{source}: {name}: {_show(inner)}: expected a section of options")
        place[section] = inner = dict(inner)  # an anchor may share it
        place = inner
    place[leaf] = _parse(value, f"{COMMAND_LINE}: {key}")
    return key


def _validate(tree: Tree, source: str, overridden: Sequence[str]) -> Config:
    odd = _out_of_range(tree, "", 0)
    if odd is not None:
        key, value = odd
        where = COMMAND_LINE if any(_within(key, name) for name in overridden) else source
        raise ConfigError(
            f"{where}: {_one_line(key)}: {_show(value)}: expected 0, or a number from "
            f"{1 / GREATEST:g} to {GREATEST:g} (an integer up to 2**63)"
        )
    try:
        # Strict, and by way of JSON: in it a list is a tuple and text a path, but 1 is not true.
        return Config.model_validate_json(json.dumps(tree), strict=True)
    except ValidationError as error:
        details: Any = error.errors(include_url=False)[0]
    except (TypeError, ValueError, RecursionError):
        raise ConfigError(f"{source}: expected plain numbers, texts, lists and sections") from None
    key = _key_of(details)
    if any(_within(key, name) or _within(name, key) for name in overridden):
        source = COMMAND_LINE
    if not key:
        raise ConfigError(f"{source}: {_one_line(details['msg'])}")
    if details["type"] == "extra_forbidden":
        raise ConfigError(f"{source}: {_one_line(key)}: unknown key{nearest_key(key)}")
    if details["type"] == "value_error":
        raise ConfigError(f"{source}: {key}: {_one_line(details['ctx']['error'], 400)}")
    value = _lookup(tree, key)
    if value is _UNSET:
        value = flatten(Config()).get(key)
    hint = nearest(value, choices(key)) if isinstance(value, str) and key in options() else ""
    raise ConfigError(f"{source}: {key}: {_show(value)}: expected {_allowed(details, key)}{hint}")


def _out_of_range(value: Any, key: str, depth: int) -> tuple[str, Any] | None:
    """The key and value of the first number that is too great or too small for any option."""
    if isinstance(value, dict | list) and depth < DEEPEST:
        named = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in named:
            below = f"{key}.{name}" if key and isinstance(value, dict) else key or str(name)
            odd = _out_of_range(inner, below, depth + 1)
            if odd is not None:
                return odd
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return key, value
    if isinstance(value, float) and isfinite(value) and value:
        return None if 1 / GREATEST <= abs(value) <= GREATEST else (key, value)
    return None


def _within(key: str, section: str) -> bool:
    return key == section or key.startswith(f"{section}.")


def _key_of(details: Any) -> str:
    """The dotted key that an error concerns, without pydantic's path inside the value."""
    steps = [str(step) for step in details["loc"]]
    if details["type"] == "setting" and details["ctx"]["key"]:  # raised by a section
        steps += details["ctx"]["key"].split(".")
    known = options()
    prefixes = (".".join(steps[:length]) for length in range(1, len(steps) + 1))
    return next((prefix for prefix in prefixes if prefix in known), ".".join(steps))


def _lookup(tree: Any, key: str) -> Any:
    """The value at a dotted key, `_UNSET` where there is none."""
    for step in key.split("."):
        tree = tree.get(step, _UNSET) if isinstance(tree, dict) else _UNSET
    return tree


def _allowed(details: Any, key: str) -> str:
    """A description of the values allowed at `key`, from one pydantic error."""
    option = options().get(key)
    if details["type"] == "setting":
        return str(details["ctx"]["allowed"])
    if details["type"] == "string_pattern_mismatch":
        return f"text of the form {details['ctx']['pattern']}"
    if option is None:
        return "a section of options"
    if details["type"] in ("finite_number", "string_too_short", "string_too_long"):
        return f"{option.type}, {_one_line(details['msg'])}"
    return option.type


def _show(value: Any) -> str:
    return _one_line(repr(value), 60)


def _kind(value: Any) -> str:
    return "a list" if isinstance(value, list) else f"the value {_show(value)}"


# --- writing --------------------------------------------------------------------------------------


def dump(config: Config) -> str:
    """The config as YAML, every option written out; `parse` of it gives the same config."""
    tree = config.model_dump(mode="json")
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """A dumper that quotes every text which YAML 1.1 or this module's loader would read as
    something else."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the base class declares it so
        first: [
            *yaml.SafeDumper.yaml_implicit_resolvers.get(first, []),
            *_Loader.yaml_implicit_resolvers.get(first, []),
        ]
        for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Loader.yaml_implicit_resolvers}
    }


def config_hash(config: Config) -> str:
    """SHA-256 (hex) of the options that affect results and differ from their first defaults,
    without the seed.

    An option that is added later so leaves the hashes of earlier runs as they are, and so does a
    default that changes (`FIRST_DEFAULTS`). Runs that differ only in their seed or name have the
    same hash, and so have those of one file in two places whose content `data.file.sha256` tells.
    """
    usual = {**flatten(Config()), **FIRST_DEFAULTS}
    idle = {*NOT_HASHED, *(["data.file.path"] if config.data.file.sha256 else [])}
    flat = {
        key: value
        for key, value in flatten(config).items()
        if key not in idle and usual.get(key) != value and reads(config.method, key)
    }
    text = json.dumps(flat, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def config_digest(config: Config) -> bytes:
    """SHA-256 (32 bytes) of all options that affect results, the seed included; a chain's genesis
    holds it."""
    return hashlib.sha256(f"{config_hash(config)} {config.seed}".encode()).digest()


def differences(ours: Config, theirs: Config) -> list[str]:
    """The dotted keys on which two configs differ."""
    other = flatten(theirs)
    return [key for key, value in flatten(ours).items() if other[key] != value]


def departures(config: Config) -> list[tuple[str, object, object]]:
    """The options that differ from their defaults: dotted key, value, default."""
    usual = Config()
    own, default = flatten(config), flatten(usual)
    return [(key, own[key], default[key]) for key in differences(config, usual)]
