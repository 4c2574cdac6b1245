"""The memory that a run needs, told before any of it is taken."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

from bfedrec.config.schema import Config
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.dataset import Dataset
from bfedrec.federation.round_training import parts_for

CGROUP = Path("/sys/fs/cgroup/memory.max")
"""The file with the limit of the process's container, where there is one."""


def check_memory(config: Config, data: Dataset) -> None:
    """Raise ConfigError, naming the option, if a part of the run alone needs more memory than this
    machine has."""
    here = available()
    d, servers, clients = config.model.dimension, config.servers.count, config.clients.per_round
    users, items = data.users, data.items
    needs: list[tuple[str, object, str, int]] = [
        (
            "model.dimension",
            d,
            f"the factors of {users:,} users and {items:,} items",
            4 * d * (users + items),
        ),
        ("model.rank", config.model.rank, "the matrix B", 4 * d * config.model.rank),
    ]
    if config.method == "federated":
        kept = config.training.chosen.width(d, items)
        needs.append(
            (
                "training.method",
                config.training.method,
                f"the {kept:,} private numbers of each of {users:,} users",
                4 * kept * users,
            )
        )
        update = 4 * config.model.rank * items
        at_once = clients
        if not config.clients.malicious:  # whose members may act together
            at_once = -(-clients // parts_for(clients, config.model.rank, items))
        needs += [
            (
                "servers.count",
                servers,
                "the latencies of all pairs of servers",
                8 * servers**2,
            ),
            ("clients.per_round", clients, "the updates of a round", update * at_once),
        ]
    for key, value, what, size in needs:
        if size > here:
            raise ConfigError(
                f"{key}: {value}: {what} would need {size / 2**30:,.1f} GiB of memory, and "
                f"{here / 2**30:,.1f} GiB are there"
            )


def available() -> int:
    """Bytes of memory that this process may use: the machine's, or a limit that is lower."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits.append(soft)
    with suppress(OSError, ValueError):  # no container, or one without a limit
        limits.append(int(CGROUP.read_text(encoding="ascii")))
    return min(limits)
