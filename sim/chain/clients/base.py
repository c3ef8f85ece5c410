"""Base of the contract clients.

Rule decided here: a client method either returns what the contract did or raises `Reverted` with the
contract's own error; a receipt of a failed transaction never passes silently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from sim.chain.artifacts import Artifact, common_abi, load

if TYPE_CHECKING:
    from sim.chain.abi import ContractAbi, Event
    from sim.chain.backend import Backend, Receipt


class ContractClient:
    """A deployed contract on one chain.

    Parameters
    ----------
    chain
        Where it lives.
    address
        Its address, 20 bytes.
    """

    artifact_name: ClassVar[str]

    def __init__(self, chain: Backend, address: bytes) -> None:
        self.chain = chain
        self.address = address
        self.abi: ContractAbi = self.artifact().abi

    @classmethod
    def artifact(cls) -> Artifact:
        """Return the compiled contract."""
        return load(cls.artifact_name)

    @classmethod
    def _create(cls, chain: Backend, sender: bytes, *arguments: object) -> Self:
        artifact = cls.artifact()
        code = artifact.creation_code + artifact.abi.encode_constructor(*arguments)
        receipt = chain.deploy(sender, code)
        if receipt.status == 0 or receipt.contract_address is None:
            raise common_abi().decode_revert(receipt.output, f"{cls.artifact_name} constructor")
        return cls(chain, receipt.contract_address)

    def transact(self, sender: bytes, function: str, *arguments: object, value: int = 0) -> Receipt:
        """Send a transaction to a function.

        Raises
        ------
        Reverted
            If the contract refused it.
        """
        receipt = self.chain.send(sender, self.address, self.abi.encode_call(function, *arguments), value)
        if receipt.status == 0:
            raise common_abi().decode_revert(receipt.output, f"{self.artifact_name}.{function}")
        return receipt

    def read(self, function: str, *arguments: object) -> Any:
        """Return the result of a view function.

        Raises
        ------
        Reverted
            If the contract refused it.
        """
        result = self.chain.call(self.address, self.abi.encode_call(function, *arguments))
        if result.status == 0:
            raise common_abi().decode_revert(result.output, f"{self.artifact_name}.{function}")
        return self.abi.decode_output(function, result.output)

    def events(self, receipt: Receipt, name: str | None = None) -> list[Event]:
        """Return this contract's decoded events in a receipt, all or those of one name."""
        decoded = (self.abi.decode_event(log) for log in receipt.logs if log.address == self.address)
        return [event for event in decoded if event is not None and name in (None, event.name)]

    def event(self, receipt: Receipt, name: str) -> Event:
        """Return the one event of a name.

        Raises
        ------
        LookupError
            If there is none, or more than one.
        """
        found = self.events(receipt, name)
        if len(found) != 1:
            raise LookupError(f"receipt {receipt.index} has {len(found)} events {name}; expected 1")
        return found[0]
