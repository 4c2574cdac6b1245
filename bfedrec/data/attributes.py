"""Attributes of a data set's users, with which attacks on their privacy are compared.

The publisher's file is read where it lies beside the interactions, and never downloaded.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bfedrec.data.files import find_file
from bfedrec.data.interactions import DataError
from bfedrec.data.settings import DataSettings
from bfedrec.data.source import Catalogued
from bfedrec.data.titles import UNREADABLE, roots_of, text_of

LONGEST = 40
"""Letters of a value."""
MOST_VALUES = 100
"""Most values of an attribute; more of them are no classes of people."""


def attributes_of(
    settings: DataSettings, user_ids: np.ndarray, cache: Path | None = None
) -> tuple[dict[str, list[str]], str]:
    """Each user's value of every attribute, by the attribute's name, empty where it is not known;
    and a line on why there are none, empty if there are.

    Raises DataError for a file that is there and cannot be read, or is not what it has to be.
    """
    source = settings.source
    wanted = source.entry.people if isinstance(source, Catalogued) else None
    if wanted is None:
        return {}, f"attributes are not attacked: {settings.dataset} tells none of its users"
    name = Path(wanted.file.path).name
    try:
        found = find_file(source.name, wanted.file, roots_of(cache))
        if found is None:
            return {}, (
                f"attributes are not attacked: {name} is not there; put the publisher's file into "
                f"BFEDREC_DATA as {wanted.file.path}"
            )
        lines = text_of(found, wanted.encoding).split("\n")
    except UNREADABLE as error:
        raise DataError(f"{name}: cannot be read: {error}") from None
    place = {str(user): number for number, user in enumerate(user_ids)}
    values = {attribute: [""] * len(user_ids) for attribute in wanted.attributes}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        cells = line.rstrip("\r").split(wanted.delimiter)
        if len(cells) <= max(wanted.user, *wanted.attributes.values()):
            raise DataError(f"{name}, line {number}: expected {wanted.delimiter!r} between cells")
        user = place.get(cells[wanted.user].strip())
        if user is not None:
            for attribute, column in wanted.attributes.items():
                values[attribute][user] = cells[column].strip()[:LONGEST]
    for attribute, each in values.items():
        if len(set(each) - {""}) > MOST_VALUES:
            raise DataError(f"{name}: {attribute} has more than {MOST_VALUES} values")
    return values, ""
