"""The check that a run which is there already was made on the data that its config means now."""

from __future__ import annotations

from pathlib import Path

from bfedrec.config.schema import Config
from bfedrec.data.settings import DataSettings
from bfedrec.runs.folder import RunError, read_json


class SameData:
    """Digests of the data of configs, each computed once.

    Only a file that a config names by its path alone can have changed: a published data set has a
    digest in its record, and a run's hash covers `data.file.sha256`.
    """

    def __init__(self) -> None:
        self._known: list[tuple[DataSettings, str]] = []

    def check(self, run: Path, config: Config) -> None:
        """Raise `RunError` if a run's folder was made on another content of the user's file than it
        has now, and DataError for a file that cannot be read. A file that is not there any more
        tells nothing."""
        source = config.data.source
        named = [getattr(source, option) for option in source.by_content]
        if not any(isinstance(path, Path) and path.is_file() for path in named):
            return
        if getattr(source, "sha256", None) is not None:
            return
        made_on, now = read_json(run / "manifest.json").get("data_digest"), self._digest(config)
        if made_on != now:
            raise RunError(
                f"{run}: the run was made on data {str(made_on)[:12]}..., and its file now gives "
                f"{now[:12]}...: give it the same, delete the run, or use another --out"
            )

    def _digest(self, config: Config) -> str:
        from bfedrec.data.prepare import prepare  # slow to load

        for known, digest in self._known:
            if known == config.data:
                return digest
        digest = prepare(config.data).digest
        self._known.append((config.data, digest))
        return digest
