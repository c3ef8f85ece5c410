"""Deployment file: where the contracts of a served network are, with their ABIs.

Rule decided here: `deployment.json` is the only source of addresses and ABIs for clients. It is L2's, where
governance and payouts are, and holds L1's under `l1`; each contract carries the hash of the artifact that it was
created from. Its form is in `deployment.schema.json`; the reference node reads the same file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import InputError, Problem
from sim.chain.addresses import hex_address
from sim.chain.artifacts import OP_STACK, load
from sim.chain.rpc.keys import MNEMONIC, PATH

if TYPE_CHECKING:
    from sim.chain.rpc.devnet import Devnet

SCHEMA = Path(__file__).with_name("deployment.schema.json")
VERSION = 1


def document(network: Devnet) -> dict[str, Any]:
    """Return the file's content."""
    own, bridge = network.deployed.contracts, network.bridge.contracts
    on: dict[str, dict[str, Any]] = {"l1": {}, "l2": {}}
    for name, address in {**own, **bridge}.items():
        where = "l2" if network.l2.chain.code(address) else "l1"
        on[where][name] = _contract(name, address, of_bridge=name in bridge)
    accounts = {label: hex_address(address) for label, address in network.l2.named.items()}
    return {
        "schema": VERSION,
        **_chain(network, "l2", on["l2"]),
        "accounts": accounts,
        "l1": _chain(network, "l1", on["l1"]),
        "development": {
            "warning": "these keys are public; never use them elsewhere",
            "mnemonic": MNEMONIC,
            "path": PATH.format("i"),
            "accounts": [hex_address(address) for address in network.l2.keys],
        },
    }


def _chain(network: Devnet, name: str, contracts: dict[str, Any]) -> dict[str, Any]:
    chain: dict[str, Any] = {"chain_id": network.nodes[name].chain.chain_id}
    if name in network.urls:
        chain["rpc_url"] = network.urls[name]
    return {**chain, "contracts": dict(sorted(contracts.items()))}


def _contract(name: str, address: bytes, *, of_bridge: bool) -> dict[str, Any]:
    source = "TrancheVesting" if name.startswith("vesting.") else name
    artifact = load(source, OP_STACK) if of_bridge else load(source)
    return {
        "address": hex_address(address),
        "abi": list(artifact.abi.entries),
        "artifact_sha256": artifact.sha256,
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Write the file in one step.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    waiting = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        waiting.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        waiting.replace(path)
    except OSError as error:
        raise InputError([Problem(f"cannot be written: {error.strerror}", where=str(path))]) from error
