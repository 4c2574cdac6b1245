"""A merchant's uploads after a machine lost its power."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from bfedrec.merchants.lines import COLUMNS
from bfedrec.web.portal.uploads import Uploads

EVENTS = (",".join(COLUMNS) + "\n2019-10-01 00:00:00 UTC,view,1,2,a.b,x,1.5,3,s\n").encode()


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]"])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_report_that_cannot_be_read_is_in_the_way_of_none(
    tmp_path: Path, content: bytes, restarted: bool
) -> None:
    """Its folder has a number, and what was in it may not have come to the disk."""
    uploads = Uploads(tmp_path / "uploads")
    lost = uploads.receive(io.BytesIO(EVENTS), "lost.csv", np.array([1]))
    (lost.folder / "report.json").write_bytes(content)
    if restarted:
        uploads = Uploads(tmp_path / "uploads")
        assert list(uploads.folder.iterdir()) == []
    assert uploads.find(lost.number) is None
    found = uploads.receive(io.BytesIO(EVENTS), "next.csv", np.array([1]))
    assert [each.report.name for each in uploads.all()] == ["next.csv"]
    assert found.number == (1 if restarted else 2)
