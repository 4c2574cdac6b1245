"""Plugins: parts of a user's own package, registered through an entry point.

A distribution names modules in the entry-point group ``bfedrec.plugins``:

    [project.entry-points."bfedrec.plugins"]
    mine = "my_package.parts"

Each module is imported before a config is read, a command's parser is built or an archive is
audited; its decorators register its parts. All commands of one environment load the same plugins,
so a run's child processes know the parts as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata

GROUP = "bfedrec.plugins"

OWN = (
    "bfedrec.config.schema",
    "bfedrec.sweeps.registry",
    "consensus.torture.arena.attackers",
)
"""The modules that import this project's own parts. They are imported before any plugin, so that a
plugin with a taken name is refused, and names have one order. They are named here, not imported, as
importing them takes time that is saved without plugins."""


class PluginError(ValueError):
    """A plugin cannot be loaded; the message is one line that names its distribution and the
    reason."""


@dataclass(frozen=True)
class Plugin:
    """An entry point of an installed distribution."""

    distribution: str
    version: str
    name: str
    module: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.name} = {self.module})"


@dataclass(frozen=True)
class Plugins:
    """The plugins of this environment, by distribution and name."""

    loaded: tuple[Plugin, ...] = ()
    failures: tuple[str, ...] = ()
    """One line for each plugin that could not be loaded."""

    @property
    def versions(self) -> dict[str, str]:
        """The version of each distribution with a loaded plugin."""
        return {plugin.distribution: plugin.version for plugin in self.loaded}


@cache
def load_plugins() -> Plugins:
    """Import every plugin, once in a process. Errors of a plugin are not raised but listed in
    `Plugins.failures`."""
    loaded, failures = [], []
    found = sorted(_found(), key=lambda each: (each.distribution, each.name))
    for module in OWN if found else ():
        import_module(module)
    for plugin in found:
        try:
            import_module(plugin.module)
        except Exception as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())
            failures.append(f"plugin {plugin} cannot be loaded: {why}")
        else:
            loaded.append(plugin)
    return Plugins(tuple(loaded), tuple(failures))


def need_plugins() -> Plugins:
    """Load the plugins where a result depends on them; raises `PluginError` for the first that
    could not be loaded."""
    plugins = load_plugins()
    if plugins.failures:
        raise PluginError(plugins.failures[0])
    return plugins


def _found() -> list[Plugin]:
    """The entry points of the group. An entry without a distribution has no version to record, and
    is left out."""
    return [
        Plugin(entry.dist.name, entry.dist.version, entry.name, entry.value.partition(":")[0])
        for entry in metadata.entry_points(group=GROUP)
        if entry.dist is not None
    ]
