"""Trackio's local database."""

from __future__ import annotations

from bfedrec.loggers.logger import Line, Logger, logger

PROJECT = "bfedrec"
OWN = ("step", "timestamp")
"""Keys that Trackio adds to a line."""


@logger("trackio", place=3)
class Trackio(Logger):
    """A run of Trackio, whose step is the height, with the options off their defaults as its
    config.

    It is written by the storage that `trackio.init` uses too, without that function's threads,
    display and measurements of the machine.
    """

    meaning = "Trackio's database, in TRACKIO_DIR or its usual place"
    library = "trackio"
    extra = "'bfedrec[trackio]'"

    def lines(self) -> list[Line]:
        """The logs of the run, in the order of writing."""
        from trackio.sqlite_storage import SQLiteStorage

        logs = SQLiteStorage.get_logs(PROJECT, self.subject.name, run_id=self.subject.identity)
        return [
            {"height": log["step"], **{key: log[key] for key in log if key not in OWN}}
            for log in logs
        ]

    def clear(self) -> None:
        """Delete the run."""
        from trackio.sqlite_storage import SQLiteStorage

        SQLiteStorage.delete_run(PROJECT, self.subject.name, run_id=self.subject.identity)

    def add(self, line: Line) -> None:
        """Log a line."""
        from trackio.sqlite_storage import SQLiteStorage

        values = {name: value for name, value in line.items() if name != "height"}
        SQLiteStorage.bulk_log(
            PROJECT,
            self.subject.name,
            [values],
            steps=[int(line["height"])],
            config=dict(self.subject.options),
            run_id=self.subject.identity,
        )

    def close(self, finished: bool) -> None:
        """Nothing: each line is a transaction."""
