"""Tariff: what tokens cost on this node, and how a fee is divided.

Rules decided here. Rates are gwei of OPEN per million tokens: prompt tokens, prompt tokens that came from the
prefix cache, generated tokens. An adapter named by content hash or, failing that, by alias has rates of its
own; every other one has the base rates. The fee's division is that of `models.fees`: platform part first,
then burn, then exact weights of model owner, stakers and contributors. The hash of a tariff covers the
figures that decide a bill and nothing else, so that a comment or a source can be corrected.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reference_node.billing.hashes import canonical_json

SCHEMA = 1
BUNDLED = Path(__file__).with_name("tariff.yaml")
PAYEES = ("model", "stakers", "contributors")
"""Who divides the net fee; contributors keep what the floors leave over."""
ACCOUNTS = ("platform", "stakers", "burn", "fallback")
"""Addresses that a tariff names; `fallback` gets what has no owner or no DataNet."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Gwei per million tokens, each 0 or more.

    Parameters
    ----------
    input
        Prompt tokens that were computed.
    output
        Generated tokens.
    cached
        Prompt tokens that came from the prefix cache.
    """

    input: int
    output: int
    cached: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a figure comes from.

    Parameters
    ----------
    kind
        measured, documented, estimated or illustrative.
    source
        In words.
    where
        ``file:line:column``.
    """

    kind: str
    source: str
    where: str


@dataclass(frozen=True, slots=True)
class Tariff:
    """The figures of a tariff.

    Parameters
    ----------
    name
        For people.
    base
        Rates of the base model and of every adapter without its own.
    adapters
        Content hash or alias -> rates.
    platform_bps, platform_flat, burn_bps
        As in `models.fees.SplitRule`; the flat part in gwei per request.
    weights
        Weights of `PAYEES`.
    addresses
        Addresses of `ACCOUNTS`, lower case.
    origins
        Dotted path of each figure -> where it comes from.
    """

    name: str
    base: Rates
    adapters: Mapping[str, Rates]
    platform_bps: int
    platform_flat: int
    burn_bps: int
    weights: Mapping[str, int]
    addresses: Mapping[str, str]
    origins: Mapping[str, Origin] = field(default_factory=dict, compare=False)

    @classmethod
    def read(cls, path: Path) -> Tariff:
        """Read a tariff file.

        Raises
        ------
        InputError
            With every mistake of the file as ``file:line:column``.
        """
        from reference_node.billing.tariff_file import read_tariff

        return read_tariff(path)

    @classmethod
    def illustrative(cls) -> Tariff:
        """Return the bundled tariff, whose figures are those of the baseline scenario."""
        return cls.read(BUNDLED)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Tariff:
        """Return the tariff that `document` was made from, without name and origins."""
        split = document["split"]
        return cls(
            "",
            Rates(**document["base"]),
            {name: Rates(**rates) for name, rates in document["adapters"].items()},
            split["platform_bps"],
            split["platform_flat"],
            split["burn_bps"],
            {name: split["weights"][name] for name in PAYEES},
            dict(document["addresses"]),
        )

    def document(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        return {
            "schema": SCHEMA,
            "base": asdict(self.base),
            "adapters": {name: asdict(rates) for name, rates in self.adapters.items()},
            "split": {
                "platform_bps": self.platform_bps,
                "platform_flat": self.platform_flat,
                "burn_bps": self.burn_bps,
                "weights": dict(self.weights),
            },
            "addresses": dict(self.addresses),
        }

    @property
    def sha256(self) -> str:
        """Hash of the figures, 64 hexadecimal digits."""
        return hashlib.sha256(canonical_json(self.document())).hexdigest()

    def rates_of(self, sha256: str, alias: str) -> Rates:
        """Return the rates of an adapter."""
        return self.adapters.get(sha256) or self.adapters.get(alias) or self.base
