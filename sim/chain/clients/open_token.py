"""Client of OPEN, the token on L1."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from sim.chain.clients.base import ContractClient

if TYPE_CHECKING:
    from sim.chain.backend import Backend, Receipt


class OpenToken(ContractClient):
    """OPEN (contracts/OPEN.sol); amounts in wei."""

    artifact_name: ClassVar[str] = "OPEN"

    @classmethod
    def deploy(
        cls, chain: Backend, sender: bytes, *, name: str, symbol: str, cap_wei: int, holder: bytes
    ) -> Self:
        """Mint the whole cap to `holder`; nothing can be minted later."""
        return cls._create(chain, sender, name, symbol, cap_wei, holder)

    def balance_of(self, account: bytes) -> int:
        """Return the balance of an account."""
        return int(self.read("balanceOf", account))

    def total_supply(self) -> int:
        """Return the cap less what was burned."""
        return int(self.read("totalSupply"))

    def cap(self) -> int:
        """Return the supply at genesis."""
        return int(self.read("cap"))

    def transfer(self, sender: bytes, to: bytes, amount_wei: int) -> Receipt:
        """Move tokens of the sender."""
        return self.transact(sender, "transfer", to, amount_wei)

    def burn(self, sender: bytes, amount_wei: int) -> Receipt:
        """Destroy tokens of the sender."""
        return self.transact(sender, "burn", amount_wei)
