"""Makes what tests use, so that none waits for it: programs from npm and compiled kernels.

`make test` has it made beside the linters (python -m tests.helpers.ready).
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path

from bfedrec.cli.main import main as bfedrec
from tests.helpers import anvil_node, axe, compiler, ipfs_node
from tests.helpers.npm import Unavailable
from tests.helpers.tiny import TINY

PROGRAMS = (ipfs_node.empty, anvil_node.program, compiler.program, axe.script)


def install(program: Callable[[], Path]) -> str | None:
    """Install a program; the reason why it cannot be had, or None."""
    try:
        program()
    except Unavailable as reason:
        return str(reason)
    return None


def compile_kernels() -> None:
    """Let Numba write the machine code of a run's kernels beside them."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        config = Path(folder) / "tiny.yaml"
        config.write_text(f"{TINY}rounds: 2\n", encoding="utf-8")
        bfedrec(["run", str(config), "--out", str(config.with_name("run"))])


def main() -> None:
    """Make all; what cannot be had is told."""
    with ThreadPoolExecutor(len(PROGRAMS)) as pool:
        reasons = pool.map(install, PROGRAMS)
        compile_kernels()
        for reason in filter(None, reasons):
            print(reason)


if __name__ == "__main__":
    main()
