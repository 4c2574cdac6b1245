"""Files that mean harm: bombs, endless lines, damaged and odd archives, in bounded memory."""

from __future__ import annotations

import bz2
import gzip
import io
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.data.interactions import DataError
from bfedrec.merchants import sources
from bfedrec.merchants.events import EventReader
from bfedrec.merchants.sources import blocks
from tests.bfedrec.merchants.event_files import file_of, read, row
from tests.helpers.limited import limited


def packed(path: Path, kind: str) -> Path:
    """The file as gzip, as gzip in two members, or as a zip archive."""
    content = path.read_bytes()
    out = path.with_suffix(f".{kind}")
    if kind == "zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("readme.txt", "events")
            archive.writestr("2019-Oct.csv", content)
    else:
        half = len(content) // 2 if kind == "two" else len(content)
        out.write_bytes(gzip.compress(content[:half]) + gzip.compress(content[half:]))
    return out


@pytest.mark.parametrize("kind", ["gz", "two", "zip"])
def test_a_packed_file_is_read_as_the_plain_one(tmp_path: Path, kind: str) -> None:
    path = file_of(tmp_path, *(row(user_id=str(k)) for k in range(300)), "bad")
    (plain,), _ = read(path)
    (chunk,), reader = read(packed(path, kind))
    assert chunk.text == plain.text
    assert chunk.frame.equals(plain.frame)
    assert reader.reading.first_bad[0].line == 302


def refusal(path: Path) -> str:
    """The line in which a file is refused, in a process with little memory and time."""
    small = file_of(path.parent, row(), name="small.csv")
    read(small)  # loads libraries, whose memory is not that of the reading

    def work() -> int:
        try:
            for _ in EventReader(path):
                pass
        except DataError as error:
            print(error)
            return 2
        return 0

    ended = limited(work)
    assert ended.status == 2, ended.out
    (line,) = ended.lines
    return line


def test_bombs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    wide = zlib.compressobj(9, wbits=31)
    with path.open("wb") as file:
        for _ in range(200):
            file.write(wide.compress(b"\n" * 2**20))
        file.write(wide.flush())
    header = gzip.compress(file_of(tmp_path).read_bytes())
    path.write_bytes(header + path.read_bytes())
    assert "refused as a decompression bomb" in refusal(path)
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out, out.open("a.csv", "w") as file:
        file.write(file_of(tmp_path).read_bytes())
        for _ in range(200):
            file.write(b" " * (2**20 - 1) + b"\n")
    assert "refused as a decompression bomb" in refusal(archive)


def test_a_line_that_does_not_end_is_refused(tmp_path: Path) -> None:
    path = file_of(tmp_path, row())
    with path.open("ab") as file:
        for _ in range(40):
            file.write(b"x" * 2**20)
    assert "line 3 does not end within 4,194,304 bytes" in refusal(path)
    path.write_bytes(b"\x00" * 2**25)
    assert "line 1 does not end" in refusal(path)


def test_a_long_line_is_one_bad_row(tmp_path: Path) -> None:
    path = file_of(tmp_path, row(), "x" * 2**21, row())
    chunks, reader = read(path)
    assert sum(len(chunk.frame) for chunk in chunks) == 2
    assert reader.reading.first_bad == [(3, "has 2,097,152 bytes, more than 4,096")]


def zip_of(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def test_odd_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.zip"
    good = zip_of(("a.csv", b"x"))
    encrypted = bytearray(good)
    encrypted[6] |= 1
    encrypted[good.rindex(b"PK\x01\x02") + 8] |= 1
    for content, told in (
        (zip_of(("a.txt", b"x")), "holds 0 files .csv instead of one"),
        (zip_of(("a.csv", b"x"), ("b.csv", b"x")), "holds 2 files .csv instead of one"),
        (zip_of(("a.csv", b"x"), method=zipfile.ZIP_BZIP2), "packed in another way"),
        (zip_of(("a.csv", b"x"), method=zipfile.ZIP_LZMA), "packed in another way"),
        (bytes(encrypted), "is encrypted"),
        (good[:-5], "damaged"),
        (b"PK\x03\x04" + bz2.compress(b"x"), "damaged"),
        (gzip.compress(b"x" * 1000)[:-9], "damaged"),
        (b"\x1f\x8b" + b"\xff" * 50, "damaged"),
    ):
        path.write_bytes(content)
        assert told in refusal(path), told


def test_an_archive_with_an_endless_list_of_members_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.zip"
    name = b"a" * 20
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, *[0] * 7, len(name), *[0] * 6) + name
    count = 400_000
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(entry) * count, 4, 0)
    path.write_bytes(b"PK\x03\x04" + entry * count + end)
    assert "its list of members is too long" in refusal(path)


def test_absent_and_limited_files(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(DataError, match="no such file"):
            list(blocks(path))
    path = file_of(tmp_path, *[row()] * 10)
    size = path.stat().st_size
    assert sum(map(len, blocks(path, size))) == size
    with pytest.raises(DataError, match=f"holds more than the {size - 1:,} bytes"):
        list(blocks(path, size - 1))


@settings(max_examples=150)
@given(st.sampled_from(["gz", "zip"]), st.integers(0, 2**16), st.integers(1, 255))
def test_a_changed_byte_is_told_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, kind: str, place: int, by: int
) -> None:
    folder = tmp_path_factory.mktemp("changed")
    path = packed(file_of(folder, row(), row(user_id="5")), kind)
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= by
    path.write_bytes(content)
    told = ""
    try:
        read(path)
    except DataError as error:
        told = str(error)
    assert "\n" not in told


def test_a_repetitive_file_is_no_bomb(tmp_path: Path) -> None:
    path = file_of(tmp_path, *[row()] * 50_000)
    packed_path = packed(path, "gz")
    assert path.stat().st_size > 60 * packed_path.stat().st_size
    assert sum(map(len, blocks(packed_path))) == path.stat().st_size
    assert sources.RATIO >= 100
