"""Titles of items: from the publishers' files where they are at hand."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bfedrec.data import titles
from bfedrec.data.settings import DataSettings
from bfedrec.data.titles import titles_of

IDS = np.array([1, 2, 30])
MOVIES = "1::Léon (1994)::Crime\n30::A :: B::Drama\n2\nnonsense\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where data sets are looked for; there is nothing else."""
    monkeypatch.setenv("BFEDREC_DATA", str(tmp_path))
    return tmp_path


def of(name: str, folder: Path) -> list[str]:
    return list(titles_of(DataSettings(dataset=name), IDS, folder / "no cache"))


def test_titles_have_the_encoding_of_their_file(folder: Path) -> None:
    (folder / "ml-1m").mkdir()
    (folder / "ml-1m" / "movies.dat").write_bytes(MOVIES.encode("latin-1"))
    assert of("ml-1m", folder) == ["Léon (1994)", "", "A"]


def test_a_file_is_found_in_an_archive_and_packed(folder: Path) -> None:
    with zipfile.ZipFile(folder / "ml-100k.zip", "w") as archive:
        archive.writestr("ml-100k/u.item", "1|Toy Story (1995)|01-Jan-1995\n".encode("latin-1"))
    assert of("ml-100k", folder) == ["Toy Story (1995)", "", ""]
    (folder / "artists.dat.gz").write_bytes(
        gzip.compress("id\tname\turl\n30\tSigur Rós\tx\n02\tMúm\tx\r\n".encode())
    )
    assert of("lfm-2k", folder) == ["", "Múm", "Sigur Rós"]


@pytest.mark.parametrize("name", ["ml-1m", "synthetic", "pinterest", "csv"])
def test_without_a_file_there_are_no_titles(folder: Path, name: str) -> None:
    assert of(name, folder) == ["", "", ""]


@pytest.mark.parametrize("content", [b"no archive", b"PK\x05\x06" + b"\0" * 18])
def test_a_damaged_file_is_passed_over(folder: Path, content: bytes) -> None:
    (folder / "ml-1m.zip").write_bytes(content)
    assert of("ml-1m", folder) == ["", "", ""]


def test_a_file_that_is_too_long_is_passed_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "movies.dat.gz").write_bytes(gzip.compress(b"1::" + b"x" * 2000))
    assert of("ml-1m", folder)[0] == "x" * 200 + "…"
    monkeypatch.setattr(titles, "MOST_BYTES", 2000)
    assert of("ml-1m", folder) == ["", "", ""]


def test_hostile_titles_are_one_line_without_hidden_letters(folder: Path) -> None:
    (folder / "artists.dat").write_bytes(b"id\tname\n1\ta\xe2\x80\xaeb\x07\xff\tx\n")
    (title, *_) = of("lfm-2k", folder)
    assert title == "a\ufffdb\ufffd\ufffd"
