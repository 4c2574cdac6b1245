"""Every option of an experiment: one frozen pydantic model per part of the simulated world.

The text beside a field is its help (`bfedrec run --help`); the bounds beside it are what is
allowed. `bfedrec.config.load` reads these models from YAML and from `key=value` overrides. Symbols
are the paper's: M clients a round, d the dimension, r the rank, N items.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator
from pydantic.fields import FieldInfo

from bfedrec.aggregation.registry import AGGREGATORS, aggregator_of
from bfedrec.aggregation.settings import SMALLEST_GROUP, AggregationSettings
from bfedrec.attacks.attack import ATTACKS
from bfedrec.compression.registry import CODECS
from bfedrec.compression.settings import CompressionSettings
from bfedrec.config.adversary import NONE, AdversarySettings
from bfedrec.config.centralised import CentralisedSettings, Method, check_read
from bfedrec.config.clients import ClientSettings
from bfedrec.config.evaluation import EvaluationSettings
from bfedrec.config.servers import CommitteeSettings, CostSettings, ServerSettings, _finite
from bfedrec.config.storage import LedgerSettings, StoreSettings
from bfedrec.data.settings import DataSettings
from bfedrec.learning.basis import BASES
from bfedrec.learning.method import METHODS
from bfedrec.learning.sections import OptimizerSettings, TrainingSection
from bfedrec.learning.settings import ModelSettings
from bfedrec.loggers.registry import LOGGERS
from bfedrec.privacy.registry import INFERENCES
from bfedrec.privacy.secure.scheme import Scheme
from bfedrec.privacy.settings import PrivacySettings
from bfedrec.section import (
    Section,
    Tree,
    flatten,
    setting_error,
)
from bfedrec.streams import Streams
from consensus.faults.faults import fault_from_node
from consensus.ledger.sortition import MOST_BITS, bits_of_weights
from consensus.protocols.registry import DEFAULT, PROTOCOLS, protocol_named

FIRST_DEFAULTS: Final[Mapping[str, Any]] = {"aggregation.rule": "per_item"}
"""By dotted key, the first default of every option whose default has changed since.

A config hash covers the options that differ from their first defaults, not from today's: a recorded
run so keeps its hash, and two configs that mean the same have one hash, whichever of the two was
the default when they were written. A default that changes is entered here with its first value, and
never again.
"""


class Config(Section):
    """Everything that defines a run."""

    name: str = Field(
        default="run",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=80,
        description="names the run folder; no effect on results",
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="fixes every draw of the run")
    method: Method = Field(
        default="federated",
        description="what learns: the federation and its ledger, or a yardstick that sees all data "
        "at once and leaves no chain: matrix factorisation by cross-entropy (gmf) or by pairs "
        "(bpr), the items' popularity, or similar items (item_knn). Each refuses options that it "
        "does not read",
    )
    rounds: int = Field(
        default=1000, ge=1, lt=2**31, description="federated rounds, one height each"
    )
    device: str = Field(
        default="cpu",
        pattern=r"^(cpu|torch(:cpu)?|cuda(:[0-9]+)?|mps)$",
        description="what trains the cohort: cpu (compiled), or a torch device as cuda or cuda:0; "
        "torch (or torch:cpu) is what they run, on the CPU, where it is slower: to try it",
    )
    protocol: str = Field(
        default=DEFAULT,
        description="how servers agree: one of the registered protocols",
    )
    crypto: Literal["real", "modelled"] = Field(
        default="real",
        description="real curves, or modelled by keyed hashes: the same messages and charges, for "
        "large sweeps; proves nothing to an audit",
    )
    faults: tuple[Tree, ...] = Field(
        default=(),
        description="what goes wrong with the network and the servers, each {NAME: value, from, "
        "until, ...} in simulated seconds (consensus/faults/faults.py lists them)",
    )
    loggers: tuple[str, ...] = Field(
        default=(),
        description="experiment trackers that get the numbers of metrics.jsonl; no effect on "
        "results",
    )
    data: DataSettings = Field(default_factory=DataSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    training: TrainingSection = Field(default_factory=TrainingSection)
    optimizer: OptimizerSettings = Field(default_factory=OptimizerSettings)
    aggregation: AggregationSettings = Field(default_factory=AggregationSettings)
    centralised: CentralisedSettings = Field(default_factory=CentralisedSettings)
    compression: CompressionSettings = Field(default_factory=CompressionSettings)
    clients: ClientSettings = Field(default_factory=ClientSettings)
    privacy: PrivacySettings = Field(default_factory=PrivacySettings)
    servers: ServerSettings = Field(default_factory=ServerSettings)
    adversary: AdversarySettings = Field(default_factory=AdversarySettings)
    committee: CommitteeSettings = Field(default_factory=CommitteeSettings)
    ledger: LedgerSettings = Field(default_factory=LedgerSettings)
    costs: CostSettings = Field(default_factory=CostSettings)
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)

    @classmethod
    def options(cls) -> dict[str, FieldInfo]:
        """The options by their keys, with the registered protocols and loggers as those to choose
        from."""
        names: Any = Literal[tuple(PROTOCOLS)]
        known = FieldInfo(
            annotation=names,
            default=DEFAULT,
            description="how servers agree: "
            + "; ".join(f"{each.name} ({each.meaning})" for each in PROTOCOLS.values()),
        )
        loggers = cls.model_fields["loggers"]
        listed = "; ".join(f"{each.name}: {each.meaning}" for each in LOGGERS.values())
        told = FieldInfo.merge_field_infos(loggers, description=f"{loggers.description}: {listed}")
        choice: Any = Literal[tuple(LOGGERS)]
        told.annotation = tuple[choice, ...]
        return cls.model_fields | {"protocol": known, "loggers": told}

    @field_validator("protocol")
    @classmethod
    def _known_protocol(cls, name: str) -> str:
        if name not in PROTOCOLS:
            raise setting_error("", " | ".join(PROTOCOLS))
        return name

    @field_validator("loggers")
    @classmethod
    def _known_loggers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in LOGGERS or names.count(name) > 1:
                raise setting_error("", f"a list of {' | '.join(LOGGERS)}, each once")
        return names

    @field_validator("faults")
    @classmethod
    def _known_faults(cls, nodes: tuple[Tree, ...]) -> tuple[Tree, ...]:
        for node in _finite(nodes):
            fault_from_node(node)
        return nodes

    @model_validator(mode="after")
    def _agree(self) -> Config:
        """Refuse combinations of settings that are allowed each by itself but contradict each
        other."""
        servers, committee = self.servers, self.committee
        if self.method != "federated" or self.centralised != CentralisedSettings():
            check_read(self.method, flatten(self), flatten(Config()), FIRST_DEFAULTS)
        if self.method == "federated":
            self._learning_agrees()
            self._privacy_agrees()
        if isinstance(servers.stake, tuple) and len(servers.stake) != servers.count:
            raise setting_error("servers.stake", f"as many as servers.count = {servers.count}")
        if self.adversary.delays.strategy != NONE and servers.gossip != "tree":
            raise setting_error("servers.gossip", "tree, as adversary.delays.strategy is given")
        if self.adversary.corruption.at_once > servers.count:
            raise setting_error(
                "adversary.corruption.at_once", f"at most servers.count = {servers.count}"
            )
        if servers.regions > servers.count and not servers.round_trips:
            raise setting_error("servers.regions", f"at most servers.count = {servers.count}")
        kinds = protocol_named(self.protocol).committees
        if committee.kind not in kinds:
            allowed = " | ".join(kinds)
            raise setting_error("committee.kind", f"{allowed}, as protocol is {self.protocol}")
        if committee.kind == "fixed" and committee.size > servers.count:
            raise setting_error("committee.size", f"at most servers.count = {servers.count}")
        self.ledger.incentives.check(self.protocol, committee, servers, servers.stake_expected)
        if committee.kind == "weighted":
            self._weights_agree()
        if self.ledger.incentives.use and self.aggregation.secure:
            told = "0, as aggregation.secure is true: no server sees the update of one client"
            raise setting_error("ledger.incentives.use", told)
        if any(home >= servers.count for each in self.clients.malicious for home in each.homes):
            raise setting_error("clients.malicious", f"homes below servers.count = {servers.count}")
        for name, own in (("csv", self.data.csv), ("file", self.data.file)):
            if self.data.dataset == name and own.path is None:
                told = f"the path of a file, as data.dataset is {name}"
                raise setting_error(f"data.{name}.path", told)
        if self.privacy.attacks.names and self.store.kind == "memory":
            raise setting_error("store.kind", "sqlite | ipfs, as privacy.attacks reads the chain")
        for node in self.faults:
            try:
                fault_from_node(node).placed(servers.count, np.random.default_rng(0))
            except ValueError as error:
                raise setting_error("faults", f"servers that there are: {error}") from None
        return self

    def _weights_agree(self) -> None:
        """Refuse a committee by weight that would stall: its weights cannot be computed in any
        time, or nobody could give up one of which the weight is two thirds of the size or less."""
        if PROTOCOLS[self.protocol].recovers and not self.committee.recovery_seconds:
            raise setting_error(
                "committee.recovery_seconds",
                "more than 0, as committee.kind is weighted: a committee of two thirds of its "
                "expected weight, or less, cannot give up itself",
            )
        servers, size = self.servers, self.committee.size
        stakes = servers.stakes(Streams(self.seed).generator("stake"))
        bits = bits_of_weights(stakes, size)
        if bits > MOST_BITS:
            key = "stake" if isinstance(servers.stake, tuple) else "stake_mean"
            raise setting_error(
                f"servers.{key}",
                "less, as committee.kind is weighted: weights would be computed with numbers of "
                f"{bits:,} bits, more than {MOST_BITS:,}",
            )

    def _method_agrees(self) -> None:
        """Refuse a model or an attack that the training method has no use for."""
        model, method = self.model, self.training.chosen
        method.check(self.training, model.dimension)
        chunk = type(self.training).model_fields["chunk_mib"].default
        if self.device == "cpu" and self.training.chunk_mib != chunk:
            raise setting_error("training.chunk_mib", f"{chunk}, as device is cpu")
        if method.whole_rows and CODECS[self.compression.kind].under_basis:
            told = f"as training.method {method.name} trains whole rows"
            if model.basis != "identity":
                raise setting_error("model.basis", f"identity, {told}")
            if model.rank != model.dimension:
                raise setting_error("model.rank", f"model.dimension = {model.dimension}, {told}")
        for group in self.clients.malicious:
            if group.plan.needs_products and not method.products:
                raise setting_error(
                    "clients.malicious",
                    f"another attack than {group.attack}, as training.method {method.name} does "
                    "not score by products of factors",
                )

    def _privacy_agrees(self) -> None:
        """Refuse decoys that a method cannot train on, and what would tell more than the noise of
        differential privacy covers."""
        method = self.training.chosen
        if self.privacy.decoys.on and not method.apart:
            able = " | ".join(name for name, each in METHODS.items() if each.apart)
            raise setting_error(
                "training.method", f"{able}, as privacy.decoys is on: p_u is trained apart"
            )
        if self.privacy.decoys.factors == "shown" and method.keeps_factors:
            raise setting_error(
                "privacy.decoys.factors", f"own, as training.method {method.name} keeps one p_u"
            )
        for name in self.privacy.attacks.names:
            if INFERENCES[name].under_masks and not self.aggregation.secure:
                raise setting_error(
                    "privacy.attacks.names", f"none of {name}, as aggregation.secure is false"
                )
        if not self.privacy.dp.on:
            return
        rule, told = (
            AGGREGATORS[self.aggregation.rule],
            f"as privacy.dp.noise is {self.privacy.dp.noise}",
        )
        if rule.goes_by_item or rule.weighs_samples:
            able = " | ".join(
                name
                for name, each in AGGREGATORS.items()
                if not each.goes_by_item and not each.weighs_samples
            )
            what = "the items" if rule.goes_by_item else "the number of samples"
            raise setting_error(
                "aggregation.rule", f"{able}, {told}: {rule.name} asks for {what} of a client"
            )
        if self.compression.error_feedback:
            raise setting_error(
                "compression.error_feedback",
                f"false, {told}: noise that was lost is not sent again",
            )
        if self.privacy.dp.noise == "distributed" and not self.aggregation.secure:
            self._aggregate_is_a_sum()

    def _aggregate_is_a_sum(self) -> None:
        """Refuse what publishes less than a sum of `privacy.dp.group` updates: the aggregate is
        there for everybody, so that no epsilon of whoever sees but sums would hold."""
        rule = aggregator_of(self.aggregation)
        if rule.of_sums(np.zeros((1, 1)), np.ones(1), 1) is None:
            raise setting_error(
                "aggregation.rule",
                f"uniform, as privacy.dp.noise is distributed: the aggregate by {rule.name} does "
                "not follow from the sum that has the noise",
            )
        if self.privacy.dp.group > self.clients.present:
            raise setting_error(
                "privacy.dp.group",
                f"at most {self.clients.present}, the updates whose sum a round publishes "
                "(clients.per_round, clients.dropout)",
            )

    def _secure_agrees(self) -> None:
        """Refuse what cannot be done under masks."""
        aggregation, compression, per_round = (
            self.aggregation,
            self.compression,
            self.clients.per_round,
        )
        if AGGREGATORS[aggregation.rule].weighs_samples:
            able = ", ".join(name for name, kind in AGGREGATORS.items() if not kind.weighs_samples)
            told = "as masked updates cannot be weighted (aggregation.secure)"
            raise setting_error("aggregation.rule", f"one of {able}, {told}")
        if compression.kind != "levels":
            raise setting_error("compression.kind", "levels, as aggregation.secure is true")
        if self.crypto != "real":
            raise setting_error("crypto", "real, as aggregation.secure agrees on keys")
        if per_round < SMALLEST_GROUP:
            raise setting_error("clients.per_round", f"{SMALLEST_GROUP} or more under masks")
        scheme = Scheme(1, 1, 1, False, aggregation.group, aggregation.neighbours)
        if scheme.smallest(per_round) < SMALLEST_GROUP:
            told = f"more: {per_round} clients are dealt into groups of {SMALLEST_GROUP} or more"
            raise setting_error("aggregation.group", told)
        for group in self.clients.malicious:
            if not group.plan.under_masks:
                able = ", ".join(name for name, kind in ATTACKS.items() if kind.under_masks)
                told = f"an attack that can be played under masks ({able}), not {group.attack}"
                raise setting_error("clients.malicious", told)
        levels = compression.parameters["levels"]
        if 2 * aggregation.group * levels >= 2**16:
            raise setting_error("aggregation.group", "less: a sum has at most 16 bits")
        aggregation.check_lanes(levels, self.privacy.dp.on)
        if self.privacy.dp.noise == "distributed":
            most = scheme.fewest(per_round)
            if self.privacy.dp.group > most:
                raise setting_error(
                    "privacy.dp.group",
                    f"at most {most}, the fewest clients whose noise is in a group's sum "
                    "(aggregation.secure)",
                )

    def _learning_agrees(self) -> None:
        """Refuse settings of the model, of training and of evaluation that do not fit together."""
        model, evaluation = self.model, self.evaluation
        self._method_agrees()
        self.compression.size_for(model.dimension, model.rank)
        for group in self.clients.malicious:
            if group.plan.violation() and not self.aggregation.secure:
                told = f"another attack than {group.attack}, as aggregation.secure is false"
                raise setting_error("clients.malicious", told)
        if self.aggregation.secure:
            self._secure_agrees()
        basis = BASES.named(model.basis)
        if not basis.fits(model.dimension, model.rank) and model.rank <= model.dimension:
            raise setting_error(
                "model.basis",
                f"a basis that has rank {model.rank} in {model.dimension} dimensions "
                f"({basis.name}: {basis.meaning})",
            )
        if evaluation.select == "validation" and self.data.validation == "train":
            raise setting_error(
                "evaluation.select", "last | test, as data.validation is train: none is held out"
            )
        if evaluation.patience and self.data.validation == "train":
            raise setting_error(
                "evaluation.patience", "0, as data.validation is train: none is held out"
            )
        if evaluation.recency and not self.training.chosen.orders:
            method = self.training.method
            raise setting_error("evaluation.recency", f"false, as training.method is {method}")
        if self.training.chosen.keeps_factors:
            why = f"training.method {self.training.method} solves no factors"
            evaluation.refuse_unread(("unobserved", "l2", "norm"), why, "evaluation.")
        if not self.training.chosen.products:
            why = f"training.method {self.training.method} scores by no products"
            evaluation.refuse_unread(("neighbours",), why, "evaluation.")
