"""Who is paid when an adapter serves: its owner, and the contributors of the DataNets that it was trained on.

A manifest is a JSON file beside the adapter. Shares are basis points and sum to exactly 10,000 twice: over the DataNets
of an adapter and over the contributors of a DataNet, so that a payee's part is an exact fraction of 10^8. Without a
manifest the owner is unknown and there are no DataNets. The manifest is no part of the adapter's content hash.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from models.errors import InputError, Problem
from reference_node.manifest_reader import MANIFEST_BYTES_MAX, MANIFEST_DEPTH_MAX, MISSING, Reader
from reference_node.restriction import Restriction, blinded_id, read_restriction
from reference_node.strict_json import parse_json

MANIFEST_FILE = "manifest.json"
SCHEMA_VERSION = 1
WHOLE_BPS = 10_000
DATANETS_MAX = 256
CONTRIBUTORS_MAX = 2_000  # of all DataNets together
DESCRIPTION_MAX = 2_000  # characters
TRAINING_BYTES_MAX = 32 << 10
OPTIONAL = ("datanets", "base_sha256", "training", "description")


@dataclass(frozen=True, slots=True)
class ContributorShare:
    """A contributor of a DataNet: id, address that is paid, and share of the DataNet in basis points."""

    id: str
    address: str
    share_bps: int


@dataclass(frozen=True, slots=True)
class DataNetShare:
    """A DataNet of an adapter: id, share of the contributors' part in basis points, and its contributors.

    `restricted` says why its data is not open, None where it is.
    """

    id: str
    share_bps: int
    contributors: tuple[ContributorShare, ...]
    restricted: Restriction | None = None

    def outside(self, kind: str, name: str) -> str:
        """Return what others see of a name: of the `datanet` or of a `contributor`; blinded if it is restricted."""
        return name if self.restricted is None else blinded_id(self.restricted.salt, kind, name)


@dataclass(frozen=True, slots=True)
class Payee:
    """Who is paid, and what exact share of which part of the fee.

    Parameters
    ----------
    address
        Where the money goes, in lower case.
    share
        Of the part; the shares of a part sum to 1.
    part
        "model" for the owner, "contributors" for those whose data it was trained on.
    """

    address: str
    share: Fraction
    part: Literal["model", "contributors"]


@dataclass(frozen=True, slots=True)
class AdapterManifest:
    """What an adapter's maker says about it.

    Parameters
    ----------
    owner
        Address that earns the model's part of each fee.
    datanets
        DataNets it was trained on; empty when there are none.
    base_sha256
        Base model it was trained for, None when unsaid.
    training
        Facts of the training run, as the trainer wrote them.
    description
        For people.
    """

    owner: str
    datanets: tuple[DataNetShare, ...] = ()
    base_sha256: str | None = None
    training: dict[str, Any] | None = None
    description: str = ""
    schema: int = SCHEMA_VERSION

    def payees(self) -> tuple[Payee, ...]:
        """Return the owner and the contributors, each address once per part, in the order of the manifest.

        Examples
        --------
        >>> half = ContributorShare("c", "0x" + "c" * 40, 10_000)
        >>> made = AdapterManifest("0x" + "a" * 40, (DataNetShare("law", 10_000, (half,)),))
        >>> [(payee.part, int(payee.share)) for payee in made.payees()]
        [('model', 1), ('contributors', 1)]
        """
        shares: dict[str, Fraction] = {}
        for datanet in self.datanets:
            for contributor in datanet.contributors:
                part = Fraction(datanet.share_bps * contributor.share_bps, WHOLE_BPS**2)
                shares[contributor.address] = shares.get(contributor.address, Fraction(0)) + part
        contributors = (Payee(address, share, "contributors") for address, share in shares.items() if share)
        return (Payee(self.owner, Fraction(1), "model"), *contributors)

    def shown(self) -> dict[str, Any]:
        """Return the manifest as others may see it: names of restricted DataNets blinded, of the rest only the kind."""
        document: dict[str, Any] = json.loads(self.to_json())
        for entry, net in zip(document["datanets"], self.datanets, strict=True):
            if net.restricted is not None:
                entry["id"] = net.outside("datanet", net.id)
                entry["restricted"] = {"kind": net.restricted.kind}
                for contributor in entry["contributors"]:
                    contributor["id"] = net.outside("contributor", contributor["id"])
        return document

    def to_json(self) -> bytes:
        """Return the manifest as a file; equal manifests give the same bytes."""
        document = {
            "schema": self.schema,
            "owner": self.owner,
            "datanets": [
                {
                    "id": datanet.id,
                    "share_bps": datanet.share_bps,
                    "contributors": [
                        {"id": c.id, "address": c.address, "share_bps": c.share_bps}
                        for c in datanet.contributors
                    ],
                    # only where it is said: manifests of open data keep their bytes
                    **({"restricted": asdict(datanet.restricted)} if datanet.restricted else {}),
                }
                for datanet in self.datanets
            ],
            "base_sha256": self.base_sha256,
            "training": self.training,
            "description": self.description,
        }
        text = json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True, allow_nan=False)
        return f"{text}\n".encode()


def read_manifest(path: Path) -> AdapterManifest:
    """Read a manifest file.

    Raises
    ------
    InputError
        With every mistake, its path inside the file and what is allowed.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MANIFEST_BYTES_MAX + 1)
    except OSError as error:
        message = f"cannot read the adapter's manifest: {error.strerror}"
        raise InputError([Problem(message, where=str(path))]) from error
    return parse_manifest(data, where=str(path))


def write_manifest(manifest: AdapterManifest, path: Path) -> None:
    """Write a manifest file.

    Raises
    ------
    InputError
        When the manifest would not be read back.
    """
    data = manifest.to_json()
    parse_manifest(data, where=str(path))
    path.write_bytes(data)


def parse_manifest(data: bytes, *, where: str = MANIFEST_FILE) -> AdapterManifest:
    """Read a manifest from its bytes.

    Raises
    ------
    InputError
        With every mistake, its path inside the file and what is allowed.
    """
    raw = parse_json(data, where=where, bytes_max=MANIFEST_BYTES_MAX, depth_max=MANIFEST_DEPTH_MAX)
    reader = Reader(where)
    top = reader.mapping(raw, "", required=("schema", "owner"), optional=OPTIONAL)
    reader.integer(top["schema"], "schema", SCHEMA_VERSION, SCHEMA_VERSION)
    manifest = AdapterManifest(
        owner=reader.address(top["owner"], "owner"),
        datanets=_datanets(reader, top.get("datanets", [])),
        base_sha256=reader.sha256(top.get("base_sha256"), "base_sha256"),
        training=reader.facts(top.get("training"), "training", TRAINING_BYTES_MAX),
        description=reader.text(top.get("description", ""), "description", DESCRIPTION_MAX),
    )
    reader.finish()
    return manifest


def _datanets(reader: Reader, raw: Any) -> tuple[DataNetShare, ...]:
    found, contributors = [], 0
    for path, entry in reader.sequence(raw, "datanets", DATANETS_MAX):
        fields = reader.mapping(
            entry, path, required=("id", "share_bps", "contributors"), optional=("restricted",)
        )
        shares = _contributors(reader, fields["contributors"], f"{path}.contributors")
        contributors += len(shares)
        name = reader.name(fields["id"], f"{path}.id")
        found.append(
            DataNetShare(
                name,
                reader.integer(fields["share_bps"], f"{path}.share_bps", 0, WHOLE_BPS),
                shares,
                read_restriction(reader, fields.get("restricted"), f"{path}.restricted", name),
            )
        )
    if contributors > CONTRIBUTORS_MAX:
        reader.say(
            "datanets", contributors, f"allowed {CONTRIBUTORS_MAX} contributors in all DataNets together"
        )
    if found:
        _check_shares(reader, found, "datanets")
    return tuple(found)


def _contributors(reader: Reader, raw: Any, path: str) -> tuple[ContributorShare, ...]:
    found = []
    for place, entry in reader.sequence(raw, path, CONTRIBUTORS_MAX):
        fields = reader.mapping(entry, place, required=("id", "address", "share_bps"))
        found.append(
            ContributorShare(
                reader.name(fields["id"], f"{place}.id"),
                reader.address(fields["address"], f"{place}.address"),
                reader.integer(fields["share_bps"], f"{place}.share_bps", 0, WHOLE_BPS),
            )
        )
    if raw is not MISSING:
        _check_shares(reader, found, path)
    return tuple(found)


def _check_shares(reader: Reader, found: Sequence[DataNetShare | ContributorShare], path: str) -> None:
    for name, count in Counter(share.id for share in found).items():
        if name and count > 1:
            reader.say(path, name, "each id at most once")
    total = sum(share.share_bps for share in found)
    if total != WHOLE_BPS:
        reader.say(path, total, f"share_bps must sum to exactly {WHOLE_BPS}", what="sum of share_bps")
