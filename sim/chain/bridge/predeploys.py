"""Predeploys: the addresses that mean something on every L2 of the OP Stack.

Rule decided here: L2's contracts are there from the first block, as code that no transaction created. A contract of L1
acts on L2 under its alias, so that nobody can take its address there; a plain account keeps its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.chain.artifacts import OP_STACK, load

if TYPE_CHECKING:
    from sim.chain.backend import SandboxChain


def _predeploy(number: int) -> bytes:
    return bytes.fromhex(f"42{number:038x}")


CROSS_DOMAIN_MESSENGER = _predeploy(0x07)
STANDARD_BRIDGE = _predeploy(0x10)
TOKEN_FACTORY = _predeploy(0x12)
L1_BLOCK = _predeploy(0x15)
MESSAGE_PASSER = _predeploy(0x16)

DEPOSITOR = bytes.fromhex("deaddeaddeaddeaddeaddeaddeaddeaddead0001")
"""Whom the system's own deposits are from; nobody has its key."""

ALIAS_OFFSET = 0x1111000000000000000000000000000000001111


def alias_of(address: bytes) -> bytes:
    """Return the address on L2 of a contract on L1.

    Examples
    --------
    >>> alias_of(bytes.fromhex("eeee" + "ff" * 18)).hex()
    '0000000000000000000000000000000000001110'
    """
    return ((int.from_bytes(address, "big") + ALIAS_OFFSET) % 2**160).to_bytes(20, "big")


def install(l2: SandboxChain, contracts: dict[bytes, str]) -> None:
    """Put the code of contracts, by address and artifact name, where they are from the first block."""
    for address, name in contracts.items():
        l2.set_code(address, load(name, OP_STACK).deployed_code)
