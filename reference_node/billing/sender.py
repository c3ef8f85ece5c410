"""Sender: whose transaction posts an epoch.

Rule decided here: either the chain's node holds the account (a development chain) and is asked to send, or a key
file that only its owner can read signs here; a key never leaves this process and is never printed.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.errors import InputError, Problem
from reference_node.billing.hashes import address
from reference_node.billing.rpc import Rpc

_KEY = re.compile(r"(?:0x)?([0-9a-fA-F]{64})")


@dataclass(frozen=True, slots=True)
class Sender:
    """An account that can send.

    Parameters
    ----------
    address
        Lower case.
    key
        Private key, or None where the chain's node holds the account.
    """

    address: str
    key: bytes | None = field(default=None, repr=False)

    @classmethod
    def unlocked(cls, text: str) -> Sender:
        """Return an account that the chain's node holds.

        Raises
        ------
        InputError
            If it is no address.
        """
        try:
            return cls(address(text))
        except ValueError as error:
            raise InputError(f"sender: {error}") from error

    @classmethod
    def from_key_file(cls, path: Path) -> Sender:
        """Return the account of a private key in a file, 64 hexadecimal digits.

        Raises
        ------
        InputError
            If others may read the file, or it holds something else.
        """
        from eth_account import Account

        try:
            mode, text = stat.S_IMODE(path.stat().st_mode), path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError([Problem(f"cannot be read: {type(error).__name__}", where=str(path))]) from None
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise InputError(
                [Problem(f"others may read this key (mode {mode:o}); chmod 600 it", where=str(path))]
            )
        match = _KEY.fullmatch(text)
        try:
            key = bytes.fromhex(match[1]) if match else b""
            return cls(str(Account.from_key(key).address).lower(), key)
        except Exception:  # noqa: BLE001, RUF100 - the library's words might quote the key
            raise InputError(
                [Problem("holds no private key; expected 64 hexadecimal digits", where=str(path))]
            ) from None

    def check(self, rpc: Rpc) -> None:
        """Refuse an account that neither the node nor a key file can sign for.

        Raises
        ------
        InputError
            With the accounts that the node holds.
        """
        if self.key is not None:
            return
        held = [str(one).lower() for one in rpc.read("eth_accounts")]
        if self.address not in held:
            raise InputError(
                f"{rpc.url} does not hold {self.address} (it holds {len(held)} others); give a key file"
            )

    def send(self, rpc: Rpc, transaction: dict[str, Any]) -> str:
        """Send a transaction once and return its hash.

        Parameters
        ----------
        rpc
            The chain's node.
        transaction
            Fields as JSON-RPC names them, whole numbers as int.
        """
        if self.key is None:
            fields = {name: hex(v) if isinstance(v, int) else v for name, v in transaction.items()}
            return str(rpc.send("eth_sendTransaction", {"from": self.address, **fields}))
        from eth_account import Account

        signed = Account.sign_transaction(
            {**transaction, "to": bytes.fromhex(transaction["to"][2:])}, self.key
        )
        return str(rpc.send("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex()))
