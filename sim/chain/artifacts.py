"""Artifacts: the compiled contracts that are committed beside their sources.

Rule decided here: a contract runs from its committed artifact, so users need no compiler; each artifact
carries the hash of every source it was built from, and one hash over all artifacts goes into a run's
manifest. The bridge's contracts are another project's, unmodified, in a folder of their own.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from models.errors import InputError, Problem
from sim.chain.abi import ContractAbi

FOLDER = Path(__file__).parent / "artifacts"
OP_STACK = FOLDER / "op-stack"
"""Contracts of the OP Stack as their package ships them; the licence and what was taken lie beside them."""
SOURCES = Path(__file__).parent / "contracts"


@dataclass(frozen=True)
class Artifact:
    """One compiled contract.

    Parameters
    ----------
    name
        Contract name.
    abi
        Its ABI.
    creation_code, deployed_code
        Bytes before and after construction.
    sources
        Hash of every source in the import closure, by path: SHA-256 of our own, the compiler's Keccak-256 of others.
    settings
        Compiler version and settings.
    sha256
        SHA-256 of the artifact's file.
    """

    name: str
    abi: ContractAbi
    creation_code: bytes
    deployed_code: bytes
    sources: dict[str, str]
    settings: dict[str, Any]
    sha256: str


@cache
def load(name: str, folder: Path = FOLDER) -> Artifact:
    """Read one artifact.

    Raises
    ------
    InputError
        If the file is missing or is not an artifact.
    """
    path = folder / f"{name}.json"
    try:
        raw = path.read_bytes()
        fields = json.loads(raw)
        return Artifact(
            name=fields["contractName"],
            abi=ContractAbi(fields["abi"]),
            creation_code=bytes.fromhex(fields["bytecode"].removeprefix("0x")),
            deployed_code=bytes.fromhex(fields["deployedBytecode"].removeprefix("0x")),
            sources=dict(fields["sources"]),
            settings={"compiler": fields["compiler"], **fields["settings"]},
            sha256=hashlib.sha256(raw).hexdigest(),
        )
    except FileNotFoundError as error:
        message = "compiled contract is missing; build it with `npm ci && npm run build` in sim/chain"
        raise InputError([Problem(message, where=str(path))]) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError([Problem(f"not a compiled contract: {error!r}", where=str(path))]) from error


def names(folder: Path = FOLDER) -> tuple[str, ...]:
    """Return the names of all committed artifacts in order."""
    return tuple(sorted(path.stem for path in folder.glob("*.json")))


@cache
def common_abi() -> ContractAbi:
    """Return the ABIs of all contracts in one, which names an error or event of any of them."""
    return ContractAbi(
        [
            entry
            for folder in (OP_STACK, FOLDER)
            for name in names(folder)
            for entry in load(name, folder).abi.entries
        ]
    )


def artifacts_sha256(folder: Path = FOLDER) -> str:
    """Return one hash over the names and contents of all artifacts."""
    lines = [f"{name} {load(name, folder).sha256}\n" for name in names(folder)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def stale_sources(name: str, folder: Path = FOLDER, sources: Path = SOURCES) -> list[str]:
    """Return the own sources of a contract whose text is no longer what the artifact was built from."""
    return [
        path
        for path, digest in load(name, folder).sources.items()
        if not path.startswith("@") and hashlib.sha256((sources / path).read_bytes()).hexdigest() != digest
    ]
