"""The explorer of a path: what `bfedrec serve` and `Run.explore` serve."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError

if TYPE_CHECKING:
    from bfedrec.web.explorer.state import Explorer

LOCAL = ("127.0.0.1", "localhost", "[::1]")


def explorer_of(runs: Path, gateway: str = "", host: str = "127.0.0.1") -> Explorer:
    """The explorer of a folder of runs, of one run or sweep, or of a trace.

    Raises ConfigError for a path that does not exist, a gateway that is no URL, and where the
    packages of the pages are not installed.
    """
    try:
        from bfedrec.web.explorer.state import Explorer
    except ModuleNotFoundError as error:
        raise ConfigError(f"pages need {error.name}: pip install 'bfedrec[web]'") from None
    from bfedrec.explorer.catalogue import OF_A_RUN, OF_A_SWEEP
    from bfedrec.explorer.places import Places

    if gateway and not gateway.startswith(("http://", "https://")):
        raise ConfigError(f"{COMMAND_LINE}: --gateway {gateway!a}: not as http://127.0.0.1:8080")
    try:
        runs = runs.resolve(strict=True)
    except (OSError, ValueError):
        raise ConfigError(
            f"{COMMAND_LINE}: {runs}: there is no such folder; "
            "`bfedrec run experiments/quickstart.yaml` makes a run"
        ) from None
    gateway = gateway.rstrip("/")
    hosts = tuple(dict.fromkeys([*LOCAL, *_names(host)]))
    if runs.is_file():
        return Explorer(Places(runs.parent, single=True), runs, gateway, hosts)
    single = any((runs / name).exists() for name in (*OF_A_RUN, *OF_A_SWEEP))
    return Explorer(Places(runs, single), None, gateway, hosts)


def _names(host: str) -> list[str]:
    """The names under which a server on an address is found."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return [host.lower()]
    if not address.is_unspecified:
        return [f"[{address}]" if address.version == 6 else str(address)]
    name, found = socket.gethostname().lower(), list[object]()
    with suppress(OSError):  # a machine may have a name that nobody knows
        found = [entry[4][0] for entry in socket.getaddrinfo(name, None)]
    return [name, *(f"[{each}]" if ":" in str(each) else str(each) for each in found)]
