"""The compiled contract that ships is what its source gives, and is read without a chain."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from consensus.ethereum.artefact import artefact, source
from tests.helpers import compiler
from tests.helpers.npm import Unavailable

ROOT = Path(__file__).resolve().parents[3]
LARGEST = 24_576
"""The most bytes of a contract's code that a public network accepts (EIP-170)."""


@pytest.fixture(scope="module")
def compiled() -> list[dict[str, object]]:
    """The contract as it is, with another bound, and with another comment."""
    changed = source().replace("MAX_MERCHANTS = 64", "MAX_MERCHANTS = 65")
    told = source().replace("@title Registry", "@title The registry")
    assert len({source(), changed, told}) == 3
    try:
        return compiler.compiled(source(), changed, told)
    except Unavailable as reason:
        pytest.skip(str(reason))


def test_the_source_gives_the_bytes_that_ship(compiled: list[dict[str, object]]) -> None:
    assert compiled[0] == json.loads(compiler.TARGET.read_text(encoding="utf-8"))


def test_another_source_gives_other_bytes(compiled: list[dict[str, object]]) -> None:
    """And comments give the same: no digest of the text is in the code."""
    before = artefact()
    assert bytes.fromhex(str(compiled[1]["runtime"])) != before.runtime
    assert bytes.fromhex(str(compiled[2]["runtime"])) == before.runtime


def test_the_contract_fits_in_a_public_network() -> None:
    found = artefact()
    assert 0 < len(found.runtime) < len(found.bytecode) < LARGEST
    assert found.compiler.startswith("0.8.37+commit.")
    assert found.settings["evmVersion"] == "paris"


def test_without_the_extra_one_line_says_what_to_install() -> None:
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.partition('.')[0] in ('web3', 'eth', 'eth_account'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}')\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from consensus.ethereum import accounts, chain, embedded, node, registry\n"
        "from consensus.ethereum.errors import EthereumError\n"
        "for act in (lambda: node.Node('http://127.0.0.1:1'), lambda: chain.Chain([]),\n"
        "            lambda: accounts.mnemonic(0), lambda: accounts.from_key('0x')):\n"
        "    try:\n"
        "        act()\n"
        "    except EthereumError as error:\n"
        "        print(error)\n"
        "sys.exit(embedded.main([]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2, done.stderr
    told = done.stdout.splitlines() + done.stderr.splitlines()
    assert len(told) == 5
    assert all(line.endswith("pip install 'bfedrec[merchants]'") for line in told)
