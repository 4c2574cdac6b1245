"""The `data` section of an experiment: which interactions to use and how to split them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator
from pydantic.fields import FieldInfo

from bfedrec.data.catalogue import DATA_SETS
from bfedrec.data.sets.csv_file import CsvFile
from bfedrec.data.sets.file import FormatFile
from bfedrec.data.sets.generated import Generated
from bfedrec.data.sets.synthetic import Synthetic
from bfedrec.data.source import DataSource
from bfedrec.data.temporal import TemporalSettings
from bfedrec.section import Section, setting_error


class DataSettings(Section):
    """The data set of an experiment, and how its held-out items are chosen."""

    dataset: str = "ml-1m"
    variant: Literal["rows", "distinct"] = Field(
        default="rows",
        description="rows counts an artist once per tag, as published (the test "
        "artist may be in training); distinct has one row per user and artist",
    )
    split: Literal["leave_one_out", "temporal"] = Field(
        default="leave_one_out",
        description="leave_one_out: each user's latest item is held out; temporal: one time for "
        "all, after which nothing is trained on; options are data.temporal.*",
    )
    temporal: TemporalSettings = Field(
        default=TemporalSettings(), description="where the temporal split cuts"
    )
    test: Literal["published", "latest"] = Field(
        default="published",
        description="published: NCF's test items (and negatives) where they exist, else the "
        "latest; latest: each user's latest interaction; of no meaning under data.split temporal",
    )
    validation: Literal["hold_out", "train"] = Field(
        default="hold_out",
        description="hold_out: the item before the test item chooses hyper-parameters; "
        "train: it is trained on",
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**63,
        description="seed of the split's draws, apart from the run's seed",
    )
    synthetic: Synthetic = Field(default=Synthetic(), description="the generated data set")
    generated: Generated = Field(
        default=Generated(), description="the generated data set of any size"
    )
    csv: CsvFile = Field(default=CsvFile(), description="a file of your own")
    file: FormatFile = Field(default=FormatFile(), description="a file in a known format")

    @property
    def source(self) -> DataSource:
        """The chosen data set, with its own options where it has some."""
        if self.dataset in type(self).model_fields:
            chosen: DataSource = getattr(self, self.dataset)
            return chosen
        return DATA_SETS[self.dataset]()

    @property
    def unread_files(self) -> list[str]:
        """A line on each file of the user's own that is given and not read: another data set is
        chosen, as in a sweep over several."""
        own = {"csv": self.csv.path, "file": self.file.path}
        return [
            f"WARNING: data.{name}.path is not read, as data.dataset is {self.dataset}"
            for name, path in own.items()
            if path is not None and self.dataset != name
        ]

    @classmethod
    def options(cls) -> dict[str, FieldInfo]:
        """The options, with the registered data sets as the choices there are."""
        listed = "; ".join(f"{name}: {kind.summary()}" for name, kind in DATA_SETS.items())
        dataset = Field(default=cls.model_fields["dataset"].default, description=listed)
        dataset.annotation = Literal[tuple(DATA_SETS)]
        variant = cls.model_fields["variant"]
        varied = ", ".join(name for name, kind in DATA_SETS.items() if kind.variants())
        told = FieldInfo.merge_field_infos(variant, description=f"{varied}: {variant.description}")
        return {**cls.model_fields, "dataset": dataset, "variant": told}

    @field_validator("dataset")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in DATA_SETS:
            raise setting_error("", " | ".join(DATA_SETS))
        return name

    @model_validator(mode="after")
    def _agree(self) -> DataSettings:
        usual = TemporalSettings()
        if self.split != "temporal":
            if self.temporal != usual:
                raise setting_error("split", "temporal, as data.temporal is set")
        elif self.dataset == "csv" and self.csv.duplicates == "merge":
            raise setting_error(
                "csv.duplicates",
                "refuse, as data.split is temporal: merged pairs have their latest time; "
                "data.dataset file keeps the earliest",
            )
        return self
