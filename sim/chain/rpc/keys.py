"""Keys: the development accounts, whose private keys everybody knows.

Rule decided here: the keys come from the mnemonic that Ethereum's development networks share, along the usual path
(BIP-39 and BIP-44), so that wallets and scripts know them already. Whatever is sent to these addresses on a public
network is taken by others at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sim.chain.addresses import to_address

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

MNEMONIC = "test test test test test test test test test test test junk"
PATH = "m/44'/60'/0'/0/{}"
ACCOUNTS_MAX = 100


@dataclass(frozen=True, slots=True)
class DevelopmentKey:
    """One account with its key.

    Parameters
    ----------
    address
        20 bytes.
    account
        Signs.
    """

    address: bytes
    account: LocalAccount = field(repr=False)

    @property
    def private_key(self) -> str:
        """The key as wallets import it."""
        return "0x" + bytes(self.account.key).hex()

    def sign_transaction(self, fields: dict[str, Any]) -> bytes:
        """Return a signed transaction as bytes."""
        return bytes(self.account.sign_transaction(fields).raw_transaction)

    def sign_message(self, message: bytes) -> bytes:
        """Return the signature of a message with Ethereum's prefix (EIP-191)."""
        from eth_account.messages import encode_defunct

        return bytes(self.account.sign_message(encode_defunct(message)).signature)

    def sign_typed_data(self, document: dict[str, Any]) -> bytes:
        """Return the signature of typed data (EIP-712)."""
        return bytes(self.account.sign_typed_data(full_message=document).signature)


def development_keys(count: int) -> list[DevelopmentKey]:
    """Return the first accounts of the shared mnemonic."""
    from eth_account import Account
    from eth_account.hdaccount import key_from_seed, seed_from_mnemonic

    seed = seed_from_mnemonic(MNEMONIC, passphrase="")
    accounts = [Account.from_key(key_from_seed(seed, PATH.format(i))) for i in range(count)]
    return [DevelopmentKey(to_address(account.address), account) for account in accounts]
