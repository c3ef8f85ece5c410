"""Nodes: where the chains of a witness run are, as the command line says it.

Rule decided here: one address is L2's, and L1 stays in this process; two are L2's and L1's, in this order. Nothing is
guessed: an address is a host and a port.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from models.errors import InputError

SCHEME = "rpc://"
FORM = "rpc://HOST:PORT for L2, or rpc://HOST:PORT,HOST:PORT for L2 and L1"


@dataclass(frozen=True, slots=True)
class Nodes:
    """Addresses, ``HOST:PORT``, of the nodes of one witness run; None is a chain in this process."""

    l2: str
    l1: str | None = None


def parse_nodes(text: str) -> Nodes:
    """Return the nodes that a text names.

    Parameters
    ----------
    text
        ``rpc://HOST:PORT`` or ``rpc://HOST:PORT,HOST:PORT``.

    Raises
    ------
    InputError
        If it has another form, or names one node twice.

    Examples
    --------
    >>> parse_nodes("rpc://127.0.0.1:8545,127.0.0.1:8546")
    Nodes(l2='127.0.0.1:8545', l1='127.0.0.1:8546')
    """
    if not text.startswith(SCHEME):
        raise InputError(f"{text}: expected {FORM}")
    addresses = text.removeprefix(SCHEME).split(",")
    if len(addresses) > 2:
        raise InputError(f"{text}: {len(addresses)} addresses; expected {FORM}")
    if len(set(addresses)) < len(addresses):
        raise InputError(f"{text}: L1 and L2 are one node; each chain needs its own")
    for address in addresses:
        _check(address)
    return Nodes(*addresses)


def _check(address: str) -> None:
    try:
        parts = urlsplit(f"//{address}")
        known = parts.hostname and parts.port and parts.netloc == address and "@" not in address
    except ValueError:
        known = None
    if not known:
        raise InputError(f"{address!r} is not HOST:PORT; expected {FORM}")
