"""The users' attributes: read from the publisher's file, told where it is absent, refused where
it is damaged."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from bfedrec.data.attributes import attributes_of
from bfedrec.data.interactions import DataError
from bfedrec.data.settings import DataSettings

USERS = "1::F::1::10::48067\n2::M::56::16::70072\n7::M::25::15::55117\n"
IDS = np.array([2, 1, 3])
ML_1M = DataSettings(dataset="ml-1m")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which data are looked for."""
    monkeypatch.setenv("BFEDREC_DATA", str(tmp_path))
    return tmp_path


def found(cache: Path) -> tuple[dict[str, list[str]], str]:
    return attributes_of(ML_1M, IDS, cache)


@pytest.mark.parametrize("place", ["users.dat", "ml-1m/users.dat", "ml-1m.zip"])
def test_attributes_are_those_of_the_publishers_file(
    folder: Path, tmp_path: Path, place: str
) -> None:
    path = folder / place
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("ml-1m/users.dat", USERS)
    else:
        path.write_text(USERS)
    values, lacking = found(tmp_path / "cache")
    assert lacking == ""
    assert values == {
        "gender": ["M", "F", ""],
        "age": ["56", "1", ""],
        "occupation": ["16", "10", ""],
    }


def test_an_absent_file_is_told_in_a_line(folder: Path, tmp_path: Path) -> None:
    values, lacking = found(tmp_path / "cache")
    assert values == {}
    assert lacking == (
        "attributes are not attacked: users.dat is not there; put the publisher's file into "
        "BFEDREC_DATA as ml-1m/users.dat"
    )
    values, lacking = attributes_of(DataSettings(dataset="synthetic"), IDS, tmp_path / "cache")
    assert values == {}
    assert lacking == "attributes are not attacked: synthetic tells none of its users"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1::F::1::10\n2,M,56,16\n", "users.dat, line 2: expected '::' between cells"),
        ("".join(f"{n}::{n}::1::1\n" for n in range(200)), "gender has more than 100 values"),
    ],
)
def test_other_files_are_refused(folder: Path, tmp_path: Path, text: str, told: str) -> None:
    (folder / "users.dat").write_text(text)
    with pytest.raises(DataError, match=told):
        attributes_of(ML_1M, np.arange(200), tmp_path / "cache")


def test_users_of_unknown_value_count_as_no_value(folder: Path, tmp_path: Path) -> None:
    (folder / "users.dat").write_text("".join(f"{n}::{n}::1::1\n" for n in range(100)))
    values, lacking = attributes_of(ML_1M, np.arange(101), tmp_path / "cache")
    assert lacking == ""
    assert values["gender"] == [*map(str, range(100)), ""]
    assert values["age"] == [*["1"] * 100, ""]


def test_a_damaged_archive_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "ml-1m.zip").write_bytes(b"no archive")
    with pytest.raises(DataError, match="cannot be read"):
        found(tmp_path / "cache")
