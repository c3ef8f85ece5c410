"""Typed data (EIP-712): what an account signs so that somebody else may send its permit, delegation or vote.

Rule decided here: a message is bound to one chain and one contract by its domain, and to one use by the nonce
that is among its values. Flat messages of value types are all that the contracts ask for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sim.chain.abi import encode_values
from sim.chain.addresses import hex_address, keccak

_DOMAIN_FIELDS = (
    ("name", "string"),
    ("version", "string"),
    ("chainId", "uint256"),
    ("verifyingContract", "address"),
)


@dataclass(frozen=True, slots=True)
class TypedMessage:
    """One message in the domain of one contract.

    Parameters
    ----------
    contract_name
        Name in the contract's domain; its version is 1.
    chain_id
        Chain that the signature is valid on.
    contract
        Contract that checks it, 20 bytes.
    type_name
        Name of the message, as ``Permit``.
    fields
        Names and ABI types, in order; value types alone.
    values
        One for each field: addresses as 20 bytes, the rest as integers.
    """

    contract_name: str
    chain_id: int
    contract: bytes
    type_name: str
    fields: tuple[tuple[str, str], ...]
    values: tuple[object, ...]

    @property
    def domain_separator(self) -> bytes:
        """Hash of the domain, 32 bytes."""
        kind = keccak(_signature("EIP712Domain", _DOMAIN_FIELDS).encode())
        named = keccak(self.contract_name.encode()), keccak(b"1")
        types = ["bytes32", "bytes32", "bytes32", "uint256", "address"]
        return keccak(encode_values(types, [kind, *named, self.chain_id, self.contract]))

    @property
    def digest(self) -> bytes:
        """What is signed, 32 bytes."""
        kind = keccak(_signature(self.type_name, self.fields).encode())
        body = encode_values(["bytes32", *(type_ for _, type_ in self.fields)], [kind, *self.values])
        return keccak(b"\x19\x01" + self.domain_separator + keccak(body))

    def as_json(self) -> dict[str, Any]:
        """Return the message as a wallet takes it in ``eth_signTypedData_v4``."""
        shown = [hex_address(v) if isinstance(v, bytes) and len(v) == 20 else v for v in self.values]
        return {
            "types": {"EIP712Domain": _named(_DOMAIN_FIELDS), self.type_name: _named(self.fields)},
            "primaryType": self.type_name,
            "domain": {
                "name": self.contract_name,
                "version": "1",
                "chainId": self.chain_id,
                "verifyingContract": hex_address(self.contract),
            },
            "message": {name: value for (name, _), value in zip(self.fields, shown, strict=True)},
        }


def split_signature(signature: bytes) -> tuple[int, bytes, bytes]:
    """Return v (27 or 28), r and s of a signature r | s | v of 65 bytes.

    Raises
    ------
    ValueError
        If it has another length.
    """
    if len(signature) != 65:
        raise ValueError(f"signature has {len(signature)} bytes; expected 65")
    v = signature[64]
    return v + 27 if v < 27 else v, signature[:32], signature[32:64]


def _signature(name: str, fields: tuple[tuple[str, str], ...]) -> str:
    return f"{name}({','.join(f'{type_} {field}' for field, type_ in fields)})"


def _named(fields: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"name": name, "type": type_} for name, type_ in fields]
