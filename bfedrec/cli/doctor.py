"""`bfedrec doctor`: check what is installed, reachable and usable, and measure the IPFS node.

The measured times can be saved as the costs that a simulation charges, so that its IPFS times are
those of the user's node.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bfedrec.files import write_text
from bfedrec.plugins import Plugins, load_plugins
from bfedrec.runs.folder import RUNS
from bfedrec.runs.manifest import machine, now

if TYPE_CHECKING:
    from consensus.storage.ipfs import IpfsStore

DEFAULT_API = "/ip4/127.0.0.1/tcp/5001"
NODE_SECONDS = 30.0
MIB = 2**20

Verdict = Literal["ok", "none", "FAIL"]


@dataclass(frozen=True)
class Finding:
    """Result of one check. `none`: absent, which hinders only what needs it."""

    verdict: Verdict
    subject: str
    text: str


@dataclass(frozen=True)
class Sample:
    """Median seconds to add and to fetch files of one size."""

    size: int
    """Size of a file in bytes."""
    repeats: int
    add: float
    cat: float


SIZES = ((15_000, 15), (1_000_000, 9), (16_000_000, 5))
"""(bytes, repeats) of the files that are measured: 15 KB, 1 MB, 16 MB."""


@dataclass(frozen=True)
class Costs:
    """Seconds = fixed + per_mib * MiB, as `bfedrec.config.servers.CostSettings` charges them."""

    fixed: float
    per_mib: float

    @classmethod
    def fit(cls, points: list[tuple[int, float]]) -> Costs:
        """Fit a line through (bytes, seconds), with least squares of the *relative* error.

        So small files count as much as large ones. Neither cost is below zero.
        """
        sizes = [size / MIB for size, _ in points]
        weights = [seconds**-2 for _, seconds in points]
        total = sum(weights)
        mean_x = sum(w * x for w, x in zip(weights, sizes, strict=True)) / total
        mean_y = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / total
        spread = sum(w * (x - mean_x) ** 2 for w, x in zip(weights, sizes, strict=True))
        joint = sum(
            w * (x - mean_x) * (y - mean_y)
            for w, x, (_, y) in zip(weights, sizes, points, strict=True)
        )
        slope = max(0.0, joint / spread)
        fixed = mean_y - slope * mean_x
        if fixed < 0.0:
            through = sum(w * x * y for w, x, (_, y) in zip(weights, sizes, points, strict=True))
            return cls(0.0, through / sum(w * x * x for w, x in zip(weights, sizes, strict=True)))
        return cls(fixed, slope)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bfedrec doctor`."""
    parser.description = (
        f"Looks for an IPFS node at the multiaddr in IPFS_API (default: {DEFAULT_API}) and "
        "measures adding and fetching 15 KB, 1 MB and 16 MB."
    )
    parser.add_argument(
        "--save",
        metavar="FILE.yaml",
        type=Path,
        help="write the node's measured costs, for: bfedrec run CONFIG @FILE.yaml",
    )
    parser.set_defaults(handler=lambda parsed: doctor_command(parsed.save))


def doctor_command(save: Path | None) -> int:
    """Make all checks and print a line for each; return 0, or 1 if one of them fails.

    An IPFS node is looked for at IPFS_API, else at the default address; a missing one is a failure
    only if IPFS_API or ``save`` asks for it.
    """
    failed = False
    for look in (_python, _libraries, _plugins, _machine, _gpu, _data, _folders):
        for finding in look():
            failed |= _tell(finding)
    wanted = save is not None or "IPFS_API" in os.environ
    api = os.environ.get("IPFS_API", DEFAULT_API)
    finding, samples = examine_node(api, wanted)
    failed |= _tell(finding)
    for sample in samples:
        print(
            f"{'':6}{'':10}{sample.size:>12,} bytes: add {sample.add * 1e3:8.1f} ms, "
            f"cat {sample.cat * 1e3:8.1f} ms (median of {sample.repeats})"
        )
    if save is not None and samples:
        write_text(save, profile(finding.text, samples))
        print(f"{save}: saved; charge these costs with: bfedrec run CONFIG @{save}")
    return 1 if failed else 0


def _tell(finding: Finding) -> bool:
    """Print a finding; return True if it is a failure."""
    print(f"{finding.verdict:<6}{finding.subject:<10}{finding.text}", flush=True)
    return finding.verdict == "FAIL"


# --- the program and the machine ------------------------------------------------------------------


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("ok", "python", f"{version}, {sys.executable}")


def _libraries() -> Iterator[Finding]:
    """Check the libraries that the program requires."""
    try:
        wanted = metadata.requires("bfedrec") or []
    except metadata.PackageNotFoundError:
        yield Finding("FAIL", "libraries", "bfedrec is not installed: pip install --editable .")
        return
    from packaging.requirements import Requirement

    found, lacking = [], []
    for text in wanted:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = _version(requirement.name)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            lacking.append(f"{requirement} ({version or 'not installed'})")
        else:
            found.append(f"{requirement.name} {version}")
    if lacking:
        yield Finding("FAIL", "libraries", f"to be installed: {', '.join(lacking)}")
    yield Finding("ok", "libraries", ", ".join(found))


def _plugins() -> Iterator[Finding]:
    """The packages that add parts to this one."""
    plugins = load_plugins()
    for plugin in plugins.loaded:
        yield Finding("ok", "plugins", str(plugin))
    for failure in plugins.failures:
        yield Finding("FAIL", "plugins", failure)
    if plugins == Plugins():
        yield Finding("none", "plugins", "no package adds parts (docs/extending.md)")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _machine() -> Iterator[Finding]:
    found = machine()
    yield Finding(
        "ok",
        "machine",
        f"{found['cpu']}, {found['usable_cores']} of {found['cores']} cores usable (as many "
        f"threads train), {found['memory_gib']} GiB of memory",
    )


def _gpu() -> Iterator[Finding]:
    if find_spec("torch") is None:
        told = "unknown without torch (pip install 'bfedrec[torch]'); cohorts train on the CPU"
        yield Finding("none", "gpu", told)
        return
    try:
        import torch
    except ImportError as error:
        yield Finding("FAIL", "gpu", f"torch cannot be loaded: {error}")
        return
    verdict: Verdict = "ok"
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        told = f"{', '.join(names)}: device=cuda"
    elif torch.backends.mps.is_available():
        told = "Apple's: device=mps"
    else:
        verdict = "none"
        told = "none that it can use; cohorts train on the CPU (device=torch tries its path)"
    yield Finding(verdict, "gpu", f"torch {torch.__version__}: {told}")


# --- data and folders -----------------------------------------------------------------------------


def _data() -> Iterator[Finding]:
    """Check the official data sets: the place that each would be read from."""
    try:
        from bfedrec.data.catalogue import load_catalogue
        from bfedrec.data.interactions import DataError
        from bfedrec.data.prepare import at_hand
        from bfedrec.data.settings import DataSettings
    except ImportError as error:
        yield Finding("FAIL", "data", f"cannot be prepared: {error}")
        return
    given = os.environ.get("BFEDREC_DATA")
    if given and not Path(given).is_dir():
        yield Finding("FAIL", "data", f"BFEDREC_DATA={given}: no such folder")
    try:
        for name in load_catalogue():
            place = at_hand(DataSettings.model_validate({"dataset": name}))
            verdict: Verdict = "ok" if place else "none"
            hint = f"not at hand; see: bfedrec data prepare {name}"
            yield Finding(verdict, "data", f"{name}: {place or hint}")
    except (DataError, OSError) as error:
        yield Finding("FAIL", "data", str(error))


def _folders() -> Iterator[Finding]:
    from bfedrec.data.prepare import default_cache

    for subject, folder in (("cache", default_cache()), ("runs", RUNS)):
        above = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        free = shutil.disk_usage(above).free / 2**30
        if os.access(above, os.W_OK):
            yield Finding("ok", subject, f"{folder}: {free:,.1f} GiB free")
        else:
            yield Finding("FAIL", subject, f"{folder}: may not be written")


# --- the IPFS node --------------------------------------------------------------------------------


def examine_node(api: str, wanted: bool) -> tuple[Finding, list[Sample]]:
    """Check the node at a multiaddr and measure it; no samples if the node fails."""
    from consensus.storage.content import StoreError
    from consensus.storage.ipfs import IpfsStore

    try:
        with IpfsStore(api, NODE_SECONDS, 0) as node:
            samples = [measure(node, size, repeats) for size, repeats in SIZES]
            return Finding("ok", "ipfs", f"{api}: version {node.version}"), samples
    except StoreError as error:
        return Finding("FAIL" if wanted else "none", "ipfs", str(error)), []


def measure(node: IpfsStore, size: int, repeats: int) -> Sample:
    """Measure adding and fetching random files of ``size`` bytes, as a run does; then delete
    them."""
    add, cat = [], []
    for _ in range(repeats):
        data = os.urandom(size)
        began = time.perf_counter()
        (cid,) = node.put_files([data])
        add.append(time.perf_counter() - began)
        try:
            began = time.perf_counter()
            node.get(cid)
            cat.append(time.perf_counter() - began)
        finally:
            node.erase(data)
    return Sample(size, repeats, statistics.median(add), statistics.median(cat))


def profile(node: str, samples: list[Sample]) -> str:
    """The measured costs as the YAML text of an experiment's `costs` section."""
    add = Costs.fit([(sample.size, sample.add) for sample in samples])
    cat = Costs.fit([(sample.size, sample.cat) for sample in samples])
    lines = [
        f"# The content store's costs (seconds), measured by `bfedrec doctor` on {now()}",
        f"# at {node}",
        *(
            f"#   {sample.size:>10,} bytes: add {sample.add:.6f} s, cat {sample.cat:.6f} s"
            for sample in samples
        ),
        "# Charge them with: bfedrec run CONFIG @THIS_FILE",
        "costs:",
        f"  store_put: {add.fixed:.6f}",
        f"  store_put_per_mib: {add.per_mib:.6f}",
        f"  store_get: {cat.fixed:.6f}",
        f"  store_get_per_mib: {cat.per_mib:.6f}",
    ]
    return "\n".join(lines) + "\n"
