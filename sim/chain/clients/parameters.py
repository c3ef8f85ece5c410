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
        cls,
        chain: Backend,
        sender: bytes,
        *,
        governance: bytes,
        initial: Mapping[str, Sequence[int]],
        announced: Sequence[tuple[str, int, Sequence[int]]] = (),
    ) -> Self:
        """Create the store with its values at genesis; only `governance` can change them.

        Parameters
        ----------
        chain, sender
            Where, and by whom.
        governance
            Who may change values.
        initial
            Values from the beginning, by name.
        announced
            Changes that are known already: name, the second from which they hold, values.
        """
        dated = [(name, 0, values) for name, values in initial.items()] + list(announced)
        names, times = [name for name, _, _ in dated], [since for _, since, _ in dated]
        return cls._create(chain, sender, governance, names, [list(values) for *_, values in dated], times)

    def get(self, name: str) -> tuple[int, ...]:
        """Return a parameter; empty when it was never set."""
        return tuple(int(v) for v in self.read("get", name))

    def get_at(self, name: str, timestamp: int) -> tuple[int, ...]:
        """Return a parameter as it was at the end of a second; empty when it was not set by then."""
        return tuple(int(v) for v in self.read("getAt", name, timestamp))

    def set_calldata(self, name: str, values: Sequence[int]) -> bytes:
        """Return the calldata by which a proposal sets a parameter."""
        return self.abi.encode_call("set", name, list(values))

    def changes(self, receipt: Receipt) -> list[ParameterChange]:
        """Return the changes that a transaction made, in order."""
        return [
            ParameterChange(e.arguments["name"], e.arguments["oldValues"], e.arguments["newValues"])
            for e in self.events(receipt, "ParameterSet")
        ]
