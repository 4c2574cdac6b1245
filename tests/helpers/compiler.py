"""Compiles the contract with npm's solc; as a command, writes what ships with the package.

python -m tests.helpers.compiler
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.helpers import npm

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tests" / "helpers" / "solc" / "package.json"
SCRIPT = ROOT / "tests" / "helpers" / "solc" / "compile.js"
INSTALLED = ROOT / ".cache" / "solc"
SOURCE = ROOT / "consensus" / "ethereum" / "ModelRegistry.sol"
TARGET = SOURCE.with_suffix(".json")

SETTINGS = {
    # Older than the embedded chain's, Anvil's and every public network's rules: runs on all.
    "evmVersion": "paris",
    "optimizer": {"enabled": True, "runs": 200},
    # Without the hash of the source's comments and paths the bytes are those of the code alone.
    "metadata": {"bytecodeHash": "none", "appendCBOR": False},
    "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"]}},
}


def program() -> Path:
    """The compiler's package; raises Unavailable."""
    return npm.install("Solidity compiler", PACKAGE, INSTALLED, "solc/package.json")


def compiled(*sources: str) -> list[dict[str, Any]]:
    """The content of the shipped JSON file, from each source of the contract; compiled by one
    process, as the compiler takes seconds to start.

    Raises Unavailable where npm cannot install the compiler, and ValueError for what it refuses.
    """
    program()
    asked = [
        {
            "language": "Solidity",
            "sources": {SOURCE.name: {"content": source}},
            "settings": SETTINGS,
        }
        for source in sources
    ]
    done = subprocess.run(
        ["node", str(SCRIPT)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
        cwd=INSTALLED,
    )
    answer = json.loads(done.stdout)
    return [_shipped(output, answer["version"]) for output in answer["outputs"]]


def _shipped(output: dict[str, Any], version: str) -> dict[str, Any]:
    told = [each["formattedMessage"] for each in output.get("errors", [])]
    if told:  # a warning is one too many
        raise ValueError("\n".join(told))
    contract = output["contracts"][SOURCE.name][SOURCE.stem]
    return {
        "contract": SOURCE.stem,
        "compiler": version,
        "settings": {key: value for key, value in SETTINGS.items() if key != "outputSelection"},
        "abi": contract["abi"],
        "bytecode": contract["evm"]["bytecode"]["object"],
        "runtime": contract["evm"]["deployedBytecode"]["object"],
    }


def main() -> None:
    """Compile the source and write the JSON file beside it."""
    (found,) = compiled(SOURCE.read_text(encoding="utf-8"))
    TARGET.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    size = len(found["runtime"]) // 2
    print(f"{TARGET.name}: {size:,} bytes of code by solc {found['compiler']}")


if __name__ == "__main__":
    main()
