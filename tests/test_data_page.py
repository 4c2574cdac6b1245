"""docs/data.md tells of every format and option."""

from __future__ import annotations

from pathlib import Path

from bfedrec.data.layout import FORMATS
from bfedrec.data.sets.file import FormatFile
from bfedrec.data.temporal import TemporalSettings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "data.md"


def test_the_page_tells_of_every_format_and_option() -> None:
    text = PAGE.read_text()
    for name in FORMATS:
        assert f"| `{name}` |" in text
    for option in FormatFile.model_fields:
        assert f"`data.file.{option}`" in text or f"`.{option}`" in text
    for option in TemporalSettings.model_fields:
        assert option in text
