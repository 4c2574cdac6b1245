"""The reference of message traces: every column, from the code that writes them."""

from __future__ import annotations

from bfedrec.runs.messages import COLUMNS, FORMAT
from consensus.network.traced import LOST
from docs.generator.markdown import table

PAGE = "reference/messages"
HEAD = f"""# Columns of a message trace

`messages.parquet` in the folder of a run that was made with `--trace`
([Message traces](../traces.md)): a row for every delivery of a message from one server to another,
by height, and within a height in the order in which deliveries came to their end. A cell may be
empty where the table says so. The file's metadata have `format`: `{FORMAT}`.

"""


def page() -> str:
    """The page with all columns."""
    rows = [
        (f"`{each.name}`", each.kind, "yes" if each.optional else "", each.meaning)
        for each in COLUMNS
    ]
    lost = [(f"`{name}`", meaning) for name, meaning in LOST.items()]
    columns = table(("column", "type", "may be empty", "meaning"), rows)
    reasons = table(("value", "meaning"), lost)
    return f"{HEAD}{columns}\n## Values of `lost`\n\n{reasons}"
