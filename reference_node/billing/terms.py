"""Terms: who is owed a part of a request, as a statement with a root of its own.

Rules decided here. The root (`datanet_root` of a log record) is the RFC 9162 tree over canonical CBOR entries:
for each adapter in the order of the request [0, adapter hash, alias, owner], then for each contributor
[1, adapter hash, DataNet, its share, contributor, address, share], so that a contributor can prove its share
without showing the others. An address of zero is nobody. The statement is stored once under its root.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import cbor2

from models.merkle import log_leaf, log_root
from reference_node.billing.hashes import ZERO_ADDRESS, address, digest_bytes, sha256

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reference_node.billing.served import ServedAdapter

_ADAPTER, _SHARE = 0, 1


@dataclass(frozen=True, slots=True)
class Contributor:
    """Who is paid for data, and the weight among the contributors of the DataNet."""

    id: str
    address: str
    share_bps: int


@dataclass(frozen=True, slots=True)
class DataNet:
    """A DataNet, its weight among the adapter's DataNets, and its contributors."""

    id: str
    share_bps: int
    contributors: tuple[Contributor, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """What the payment for one adapter depends on.

    Parameters
    ----------
    sha256
        Adapter's content hash.
    alias
        Name under which it was asked for; a tariff may price it.
    owner
        Address, or "" where nobody is known.
    datanets
        Empty where none are known.
    """

    sha256: str
    alias: str
    owner: str
    datanets: tuple[DataNet, ...]

    @classmethod
    def of(cls, served: ServedAdapter) -> Terms:
        """Return the terms of a served adapter.

        Raises
        ------
        ValueError
            If a hash or an address is malformed, or a share is below 0.
        """
        digest_bytes(served.sha256, "adapter")
        manifest = served.manifest
        if manifest is None:
            return cls(served.sha256, served.alias, "", ())
        nets = tuple(
            DataNet(
                net.id,
                _share(net.share_bps, net.id),
                tuple(
                    Contributor(c.id, _payee(c.address), _share(c.share_bps, c.id)) for c in net.contributors
                ),
            )
            for net in manifest.datanets
        )
        return cls(served.sha256, served.alias, _payee(manifest.owner), nets)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Terms:
        """Return the terms that `asdict` wrote."""
        nets = tuple(
            DataNet(net["id"], net["share_bps"], tuple(Contributor(**c) for c in net["contributors"]))
            for net in document["datanets"]
        )
        return cls(document["sha256"], document["alias"], document["owner"], nets)


def statement_root(terms: Sequence[Terms]) -> bytes:
    """Return the root, 32 bytes, of the statement of a request's adapters."""
    return log_root([log_leaf(entry, sha256) for entry in statement_entries(terms)], sha256)


def statement_entries(terms: Sequence[Terms]) -> list[bytes]:
    """Return the entries of the statement, in the order of its tree."""
    rows: list[list[Any]] = []
    for adapter in terms:
        digest = bytes.fromhex(adapter.sha256)
        rows.append([_ADAPTER, digest, adapter.alias, adapter.owner])
        rows += [
            [_SHARE, digest, net.id, net.share_bps, one.id, one.address, one.share_bps]
            for net in adapter.datanets
            for one in net.contributors or (Contributor("", "", 0),)
        ]
    return [cbor2.dumps(row, canonical=True) for row in rows]


def statement_document(terms: Sequence[Terms]) -> dict[str, Any]:
    """Return the statement as plain JSON values."""
    return {"schema": 1, "adapters": [asdict(adapter) for adapter in terms]}


def _payee(text: str) -> str:
    found = address(text) if text else ""
    return "" if found == ZERO_ADDRESS else found


def _share(value: int, name: str) -> int:
    if value < 0:
        raise ValueError(f"share of {name!r} is {value}; expected 0 or more")
    return value
