"""Terms: who is owed a part of a request, as a statement with a root of its own.

Rules decided here. The root (`datanet_root` of a log record) is the RFC 9162 tree over canonical CBOR entries:
for each adapter in the order of the request [0, adapter hash, alias, owner], then for each contributor
[1, adapter hash, DataNet, its share, contributor, address, share], so that a contributor can prove its share
without showing the others. An address of zero is nobody. Names of a restricted DataNet and its contributors are
blinded before they enter the statement. The first eight bytes of a contributor's leaf are its data id: what records
call the data that it gave to that adapter. The statement is stored once under its root.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import cbor2

from models.merkle import log_leaf, log_root
from reference_node.billing.hashes import ZERO_ADDRESS, address, digest_bytes, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reference_node.billing.served import ServedAdapter

_ADAPTER, _SHARE = 0, 1
DATA_ID_BYTES = 8


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

    def __hash__(self) -> int:
        """Hash of the adapter alone: terms are looked up for every bill, and their contributors may be many."""
        return hash((self.sha256, self.alias))

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
                net.outside("datanet", net.id),
                _share(net.share_bps, net.id),
                tuple(
                    Contributor(
                        net.outside("contributor", c.id), _payee(c.address), _share(c.share_bps, c.id)
                    )
                    for c in net.contributors
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
        rows.append([_ADAPTER, bytes.fromhex(adapter.sha256), adapter.alias, adapter.owner])
        rows += [row for _, row in _share_rows(adapter)]
    return [cbor2.dumps(row, canonical=True) for row in rows]


def payees_by_data(terms: Sequence[Terms]) -> dict[bytes, str]:
    """Return data id -> address ("" for nobody) of all contributors of a request's adapters.

    Raises
    ------
    ValueError
        If two contributors have one data id.
    """
    found: dict[bytes, str] = {}
    for adapter in terms:
        for one, row in _share_rows(adapter):
            if found.setdefault(_data_id(row), one.address) != one.address:
                raise ValueError(f"two contributors of the statement have the data id {_data_id(row).hex()}")
    return found


def contributors_by_data(terms: Sequence[Terms]) -> dict[bytes, str]:
    """Return data id -> contributor, as the statement names it, of all contributors of a request's adapters."""
    return {_data_id(row): one.id for adapter in terms for one, row in _share_rows(adapter)}


def data_ids(served: Sequence[ServedAdapter], terms: Sequence[Terms]) -> dict[tuple[str, str, str], bytes]:
    """Return (adapter hash, DataNet, contributor), by the manifest's own names, -> data id."""
    found: dict[tuple[str, str, str], bytes] = {}
    for one, adapter in zip(served, terms, strict=True):
        nets = one.manifest.datanets if one.manifest is not None else ()
        names = ((net.id, c.id) for net in nets for c in net.contributors)
        rows = (row for contributor, row in _share_rows(adapter) if contributor.id)
        found |= {(one.sha256, *name): _data_id(row) for name, row in zip(names, rows, strict=True)}
    return found


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


def _share_rows(adapter: Terms) -> Iterator[tuple[Contributor, list[Any]]]:
    """Yield each contributor with its entry; a DataNet without any has one of nobody."""
    digest = bytes.fromhex(adapter.sha256)
    for net in adapter.datanets:
        for one in net.contributors or (Contributor("", "", 0),):
            yield one, [_SHARE, digest, net.id, net.share_bps, one.id, one.address, one.share_bps]


def _data_id(row: list[Any]) -> bytes:
    return log_leaf(cbor2.dumps(row, canonical=True), sha256)[:DATA_ID_BYTES]
