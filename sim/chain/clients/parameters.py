"""Client of the governed parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from sim.chain.clients.base import ContractClient

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sim.chain.backend import Backend, Receipt


@dataclass(frozen=True, slots=True)
class ParameterChange:
    """One change as the contract's event says it; the old value is empty when there was none."""

    name: str
    old: tuple[int, ...]
    new: tuple[int, ...]


class Parameters(ContractClient):
    """Parameters (contracts/Parameters.sol): one vector of integers per name."""

    artifact_name: ClassVar[str] = "Parameters"

    @classmethod
    def deploy(
        cls, chain: Backend, sender: bytes, *, governance: bytes, initial: Mapping[str, Sequence[int]]
    ) -> Self:
        """Create the store with its values at genesis; only `governance` can change them."""
        values = [list(v) for v in initial.values()]
        return cls._create(chain, sender, governance, list(initial), values)

    def get(self, name: str) -> tuple[int, ...]:
        """Return a parameter; empty when it was never set."""
        return tuple(int(v) for v in self.read("get", name))

    def set_calldata(self, name: str, values: Sequence[int]) -> bytes:
        """Return the calldata by which a proposal sets a parameter."""
        return self.abi.encode_call("set", name, list(values))

    def changes(self, receipt: Receipt) -> list[ParameterChange]:
        """Return the changes that a transaction made, in order."""
        return [
            ParameterChange(e.arguments["name"], e.arguments["oldValues"], e.arguments["newValues"])
            for e in self.events(receipt, "ParameterSet")
        ]
