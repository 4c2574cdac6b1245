"""The check that a run which is there already was made on the data that its config means now."""

from __future__ import annotations

from pathlib import Path

from bfedrec.config.schema import Config
from bfedrec.data.settings import DataSettings
from bfedrec.runs.folder import check_made_on, read_json


class SameData:
    """Digests of the data of configs, each computed once.

    Only a file that a config names by its path alone can have changed: a published data set has a
    digest in its record, and a run's hash covers `data.file.sha256`.
    """

    def __init__(self) -> None:
        self._known: list[tuple[DataSettings, tuple[str, str]]] = []

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
        check_made_on(run, read_json(run / "manifest.json"), *self._digests(config))

    def _digests(self, config: Config) -> tuple[str, str]:
        """The digest of a config's data, and that of the order of their rows."""
        from bfedrec.data.prepare import prepare  # slow to load

        for known, digests in self._known:
            if known == config.data:
                return digests
        data = prepare(config.data)
        self._known.append((config.data, (data.digest, data.places_digest)))
        return data.digest, data.places_digest
