"""The names that authors of plugins import: of each kind of part its base class, its decorator, and
the types of what its methods are given and give back.

    from bfedrec.extending import Aggregator, aggregator

They stay here under these names, while the modules that define them may move. The base classes are
typed, and abstract where a part has something to define: a type checker tells of a part that does
not fit. docs/extending.md has a whole part of every kind, docs/examples a whole package.

This module loads neither compilers nor what draws: those wait until a part is used.
"""

from __future__ import annotations

from bfedrec.aggregation.aggregator import Aggregator, DecodedUpdate, aggregator
from bfedrec.attacks.attack import Attack, Scene, attack
from bfedrec.compression.codec import Buffer, Codec, codec
from bfedrec.data.entry import CatalogueEntry, Counts, FileEntry, Layout
from bfedrec.data.interactions import DataError, Interactions, interactions_of
from bfedrec.data.jsonlines import JsonLines
from bfedrec.data.layout import (
    ITEM,
    KIND,
    RATING,
    TIME,
    USER,
    Delimited,
    Format,
    file_format,
)
from bfedrec.data.source import Catalogued, DataSource, data_set
from bfedrec.data.textfile import ID, NUMBER, read_columns
from bfedrec.evaluation.metrics import Metric, metric
from bfedrec.learning.basis import Basis, register_basis
from bfedrec.learning.method import Trainer, TrainingMethod, training_method
from bfedrec.learning.optimizer import Optimizer, Progress, optimizer
from bfedrec.learning.settings import TrainingSettings
from bfedrec.learning.task import TrainingTask
from bfedrec.learning.upload import LocalUpdates, Upload
from bfedrec.loggers.logger import Line, Logger, Subject, logger
from bfedrec.parts import parameter
from bfedrec.privacy.inference import (
    Attribute,
    AttributeAttack,
    InferenceAttack,
    MembershipAttack,
    inference,
)
from bfedrec.privacy.observation import Observation, PublicSetting
from bfedrec.report.artefact import Experiment, Made, Request, Runs
from bfedrec.report.registry import register_figure, register_record_figure, register_table
from bfedrec.report.table import Column, Table
from bfedrec.sweeps.engine import Engine, engine
from consensus.adversary.behaviour import Behaviour, behaviour
from consensus.adversary.corruption import Known, Target, target
from consensus.adversary.delays import Delays, delays
from consensus.ledger.protocol import Protocol, protocol
from consensus.ledger.validity import InvalidBlock
from consensus.server.edge_server import EdgeServer
from consensus.server.hooks import AT_ONCE, Outgoing
from consensus.server.participant import Participant

__all__ = [
    "AT_ONCE",
    "ID",
    "ITEM",
    "KIND",
    "NUMBER",
    "RATING",
    "TIME",
    "USER",
    "Aggregator",
    "Attack",
    "Attribute",
    "AttributeAttack",
    "Basis",
    "Behaviour",
    "Buffer",
    "CatalogueEntry",
    "Catalogued",
    "Codec",
    "Column",
    "Counts",
    "DataError",
    "DataSource",
    "DecodedUpdate",
    "Delays",
    "Delimited",
    "EdgeServer",
    "Engine",
    "Experiment",
    "FileEntry",
    "Format",
    "InferenceAttack",
    "Interactions",
    "InvalidBlock",
    "JsonLines",
    "Known",
    "Layout",
    "Line",
    "LocalUpdates",
    "Logger",
    "Made",
    "MembershipAttack",
    "Metric",
    "Observation",
    "Optimizer",
    "Outgoing",
    "Participant",
    "Progress",
    "Protocol",
    "PublicSetting",
    "Request",
    "Runs",
    "Scene",
    "Subject",
    "Table",
    "Target",
    "Trainer",
    "TrainingMethod",
    "TrainingSettings",
    "TrainingTask",
    "Upload",
    "aggregator",
    "attack",
    "behaviour",
    "codec",
    "data_set",
    "delays",
    "engine",
    "file_format",
    "inference",
    "interactions_of",
    "logger",
    "metric",
    "optimizer",
    "parameter",
    "protocol",
    "read_columns",
    "register_basis",
    "register_figure",
    "register_record_figure",
    "register_table",
    "target",
    "training_method",
]
