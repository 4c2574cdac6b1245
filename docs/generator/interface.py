"""The reference of the Python interface: every public name, by autodoc from its docstring."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

import bfedrec
import bfedrec.api
from docs.generator.markdown import rst, table

PAGE = "reference/python"
HEAD = """# Python interface

`import bfedrec as bf` has these names. [From Python](../python.md) shows them at work.

"""
RETURNED = """
## What they return, call and raise

Classes that are made by the calls above, not by name.

"""


OTHERS = (
    "bfedrec.runs.auditing.Audited",
    "bfedrec.runs.progress.RoundDone",
    "bfedrec.runs.progress.RoundLearnt",
    "bfedrec.runs.progress.EpochDone",
    "bfedrec.runs.progress.Evaluated",
    "bfedrec.explorer.facts.BlockFacts",
    "bfedrec.explorer.facts.ChainSummary",
    "bfedrec.data.dataset.Dataset",
    "bfedrec.config.yaml_core.ConfigError",
    "bfedrec.data.interactions.DataError",
    "bfedrec.runs.folder.RunError",
)
"""Classes of other rooms that the interface returns, calls callbacks with, or raises."""


def names() -> list[str]:
    """The public names of `import bfedrec`, in the order of its own list of homes."""
    return list(bfedrec._HOMES)


def returned() -> list[str]:
    """The dotted names of the public classes and functions of `bfedrec.api` that are not among
    `names`, and of `OTHERS`."""
    known = {id(getattr(bfedrec, name)) for name in names()}
    found = []
    for path in sorted(Path(bfedrec.api.__path__[0]).glob("[!_]*.py")):
        module = import_module(f"bfedrec.api.{path.stem}")
        for name, value in vars(module).items():
            own = getattr(value, "__module__", "") == module.__name__
            public = inspect.isclass(value) or inspect.isfunction(value)
            if own and public and not name.startswith("_") and id(value) not in known:
                found.append(f"{module.__name__}.{name}")
    return [*found, *OTHERS]


def page() -> str:
    """The page: a list of the names, then each with what it says of itself."""
    rows = [(f"{{py:obj}}`bfedrec.{name}`", _first(getattr(bfedrec, name))) for name in names()]
    entries = [f"## `{name}`\n\n{_entry(f'bfedrec.{name}')}" for name in names()]
    others = [f"### `{name.rpartition('.')[2]}`\n\n{_entry(name)}" for name in returned()]
    return "\n".join([HEAD + table(("name", "what it is"), rows), *entries, RETURNED, *others])


def _entry(dotted: str) -> str:
    """The directive that documents an object."""
    module, _, name = dotted.rpartition(".")
    value = getattr(import_module(module), name)
    if dotted == "bfedrec.Config":
        return (
            "The options of an experiment as a frozen pydantic model: `run.config.model.rank`. "
            "Its fields are the\n[options of a config](config.md); `bf.read_config` makes one.\n\n"
            + rst(f".. py:class:: {dotted}", f"   :canonical: {value.__module__}.{name}")
        )
    if inspect.isclass(value):
        return rst(f".. autoclass:: {dotted}", "   :members:", "   :exclude-members: __init__")
    return rst(f".. autofunction:: {dotted}")


def _first(value: object) -> str:
    """The first sentence of a docstring."""
    text = " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())
    return text.partition(". ")[0].rstrip(".") + "."
