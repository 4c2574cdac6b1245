"""The reference of the registered parts: a page for each kind, with its interface and its parts."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from bfedrec.config.help import options
from bfedrec.parts import Part, parameters_of
from bfedrec.report import registry as report
from consensus.faults.kinds import Fault
from consensus.registry import Registry
from docs.generator.markdown import escaped, rst, table, with_options

FOLDER = "reference/parts"


@dataclass(frozen=True)
class Kind:
    """A kind of part: where its registry stands, and how a part of it is chosen."""

    page: str
    title: str
    registry: str
    """As ``module:NAME``."""
    chosen: str
    """How a user chooses one, in Markdown."""
    interface: str = ""
    """The class or the function that a new part extends or calls, as ``module:Name``."""
    loader: str = ""
    """A module that imports the parts, where the registry's own does not."""

    @property
    def parts(self) -> Mapping[str, Any]:
        """The registered parts by name."""
        if self.loader:
            import_module(self.loader)
        if self.registry == "bfedrec.report.registry:TABLES":
            return report.tables()
        if self.registry == "bfedrec.report.registry:FIGURES":
            return report.figures()
        found: Mapping[str, Any] = _named(self.registry)
        return found


SCHEMA = "bfedrec.config.schema"
KINDS = (
    Kind(
        "rules",
        "Aggregation rules",
        "bfedrec.aggregation.aggregator:AGGREGATORS",
        "{confval}`aggregation.rule`",
        "bfedrec.aggregation.aggregator:Aggregator",
        SCHEMA,
    ),
    Kind(
        "codecs",
        "Codecs",
        "bfedrec.compression.codec:CODECS",
        "{confval}`compression.kind`",
        "bfedrec.compression.codec:Codec",
        SCHEMA,
    ),
    Kind(
        "bases",
        "Bases",
        "bfedrec.learning.basis:BASES",
        "{confval}`model.basis`",
        "bfedrec.learning.basis:Basis",
        SCHEMA,
    ),
    Kind(
        "methods",
        "Training methods",
        "bfedrec.learning.method:METHODS",
        "{confval}`training.method`",
        "bfedrec.learning.method:TrainingMethod",
        SCHEMA,
    ),
    Kind(
        "optimizers",
        "Optimizers",
        "bfedrec.learning.optimizer:OPTIMIZERS",
        "{confval}`optimizer.kind`",
        "bfedrec.learning.optimizer:Optimizer",
        SCHEMA,
    ),
    Kind(
        "data-sets",
        "Data sets",
        "bfedrec.data.source:DATA_SETS",
        "{confval}`data.dataset`",
        "bfedrec.data.source:DataSource",
        SCHEMA,
    ),
    Kind(
        "formats",
        "File formats",
        "bfedrec.data.layout:FORMATS",
        "{confval}`data.file.format`, or recognised by the file's name",
        "bfedrec.data.layout:Format",
        "bfedrec.data.sets.file",
    ),
    Kind(
        "attacks",
        "Attacks by clients",
        "bfedrec.attacks.attack:ATTACKS",
        "{confval}`clients.malicious`",
        "bfedrec.attacks.attack:Attack",
        SCHEMA,
    ),
    Kind(
        "inferences",
        "Inference attacks on privacy",
        "bfedrec.privacy.inference:INFERENCES",
        "{confval}`privacy.attacks.names`, or `bfedrec privacy RUN --attacks`",
        "bfedrec.privacy.inference:InferenceAttack",
        SCHEMA,
    ),
    Kind(
        "behaviours",
        "Behaviours of malicious servers",
        "consensus.adversary.behaviour:BEHAVIOURS",
        "{confval}`servers.malicious`",
        "consensus.adversary.behaviour:Behaviour",
        SCHEMA,
    ),
    Kind(
        "faults",
        "Faults of servers and network",
        "consensus.faults.faults:FAULTS",
        "{confval}`faults`",
    ),
    Kind(
        "protocols",
        "Consensus protocols",
        "consensus.ledger.protocol:PROTOCOLS",
        "{confval}`protocol`",
        "consensus.ledger.protocol:Protocol",
        SCHEMA,
    ),
    Kind(
        "metrics",
        "Metrics",
        "bfedrec.evaluation.metrics:METRICS",
        "none: every metric is in every summary",
        "bfedrec.evaluation.metrics:Metric",
    ),
    Kind(
        "loggers",
        "Loggers",
        "bfedrec.loggers.logger:LOGGERS",
        "{confval}`loggers`",
        "bfedrec.loggers.logger:Logger",
        SCHEMA,
    ),
    Kind(
        "tables",
        "Tables",
        "bfedrec.report.registry:TABLES",
        "`bfedrec table NAME`, or `bf.table(NAME)`",
        "bfedrec.report.registry:register_table",
    ),
    Kind(
        "figures",
        "Figures",
        "bfedrec.report.registry:FIGURES",
        "`bfedrec figure NAME`, or `bf.figure(NAME)`",
        "bfedrec.report.registry:register_figure",
    ),
    Kind(
        "engines",
        "Engines",
        "bfedrec.sweeps.engine:ENGINES",
        "`--engine` of `bfedrec sweep`, `tune`, `make` and `torture`",
        "bfedrec.sweeps.engine:Engine",
        "bfedrec.sweeps.registry",
    ),
    Kind(
        "targets",
        "Strategies of corruption",
        "consensus.adversary.corruption:TARGETS",
        "{confval}`adversary.corruption.strategy`",
        "consensus.adversary.corruption:Target",
        SCHEMA,
    ),
    Kind(
        "delays",
        "Strategies of delays",
        "consensus.adversary.delays:DELAYS",
        "{confval}`adversary.delays.strategy`",
        "consensus.adversary.delays:Delays",
        SCHEMA,
    ),
    Kind(
        "attackers",
        "Attackers of torture",
        "consensus.torture.arena.attacker:ATTACKERS",
        "none: `bfedrec torture` draws them",
        loader="consensus.torture.arena.attackers",
    ),
    Kind(
        "liars",
        "Liars of the comparison of systems",
        "bfedrec.merchants.systems.ledger:OWN",
        "none: `bfedrec merchants systems` plays them",
    ),
)


def pages() -> dict[str, str]:
    """A page for each kind of part, and one that lists the kinds, by the page's name."""
    rows = [
        (f"[{kind.title}]({kind.page}.md)", ", ".join(f"`{name}`" for name in kind.parts))
        for kind in KINDS
    ]
    listed = "\n".join(kind.page for kind in KINDS)
    overview = (
        "# Registered parts\n\nWhat can be chosen by name, as it is registered. A part of your own"
        " joins them from a package of yours: [extending](../../extending.md).\n\n"
        f"{table(('kind', 'there are'), rows)}\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n"
    )
    made = {f"{FOLDER}/{kind.page}": page(kind) for kind in KINDS}
    return {f"{FOLDER}/index": overview, **made}


def page(kind: Kind) -> str:
    """The page of a kind of part."""
    lines = [f"# {kind.title}\n", f"Chosen by: {kind.chosen}.\n"]
    for name, part in kind.parts.items():
        lines += [f"## `{name}`\n", *_entry(part)]
    if kind.interface:
        lines += ["## Interface\n", _interface(kind.interface)]
    return "\n".join(lines)


def _entry(part: Any) -> Iterator[str]:
    described = part if inspect.isclass(part) else type(part)
    if isinstance(part, report.Artefact):
        yield f"{_sentence(part.shows)}\n"
        return
    meaning = getattr(part, "meaning", "") or ""
    known = options()
    if isinstance(meaning, str) and meaning:
        yield f"{with_options(_sentence(meaning), known)}\n"
    text = inspect.getdoc(described) if described.__doc__ else ""
    if text:
        yield f"{text}\n"
    rows = list(_parameters(described))
    if rows:
        yield table(("parameter", "default", "allowed", "meaning"), rows)
    yield f"Defined in `{described.__module__.replace('.', '/')}.py`.\n"


def _parameters(part: type) -> Iterator[tuple[str, str, str, str]]:
    """The options of a part: name, default, bounds, meaning."""
    if issubclass(part, Part):
        for key, field in parameters_of(part).items():
            least, most = field.metadata["bounds"]
            told = escaped(field.metadata["description"])
            yield f"`{key}`", f"`{field.default}`", f"{least} to {most}", told
    elif issubclass(part, BaseModel):
        for key, info in part.model_fields.items():
            default = "" if info.default is PydanticUndefined else f"`{info.default}`"
            yield f"`{key}`", default, "", escaped(info.description or "")
    elif issubclass(part, Fault):
        for one in dataclasses.fields(part):
            default = "" if one.default is dataclasses.MISSING else f"`{one.default}`"
            told = inspect.getdoc(one.metadata["check"]) or ""
            yield f"`{part._key(one.name)}`", default, "", escaped(told)


def _interface(place: str) -> str:
    module, _, name = place.partition(":")
    dotted = f"{module}.{name}"
    if inspect.isclass(_named(place)):
        return rst(f".. autoclass:: {dotted}", "   :members:", "   :exclude-members: __init__")
    return rst(f".. autofunction:: {dotted}")


def _named(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def _sentence(text: str) -> str:
    """A text as a sentence; a name at its beginning stays as it is."""
    first = text.partition(" ")[0]
    start = text[:1] if "_" in first or "-" in first else text[:1].upper()
    return f"{start}{text[1:].rstrip('.')}."


def registries() -> set[str]:
    """The places of all kinds that have a `Registry`, as ``module:NAME``."""
    return {kind.registry for kind in KINDS if isinstance(_named(kind.registry), Registry)}
