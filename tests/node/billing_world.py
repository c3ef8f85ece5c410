"""A small node's worth of served requests, for the billing tests: no model, no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reference_node.billing import BillingLog, ServedAdapter, ServedRequest, Tariff
from reference_node.manifest import AdapterManifest, ContributorShare, DataNetShare
from reference_node.request import Sampling

BASE, TOKENIZER = "ba" * 32, "70" * 32
START_MS = 1_760_000_000_000

OWNER, ANA, BEN, CID = (f"0x{digit * 40}" for digit in "abcd")
FALLBACK = "0x67a810c9864e7a4dcb03b9d2befc820deaffc92b"

LAW = AdapterManifest(
    OWNER,
    (
        DataNetShare(
            "law", 7_000, (ContributorShare("ana", ANA, 6_667), ContributorShare("ben", BEN, 3_333))
        ),
        DataNetShare("tax", 3_000, (ContributorShare("cid", CID, 10_000),)),
    ),
)
NOTES = AdapterManifest(CID)


def adapter(mark: str, manifest: AdapterManifest | None = None, **given: Any) -> ServedAdapter:
    return ServedAdapter(mark * 64, alias=f"alias-{mark}", version=1, manifest=manifest, **given)


def request(number: int, *adapters: ServedAdapter, **given: Any) -> ServedRequest:
    facts: dict[str, Any] = {
        "request_id": f"{number:032x}",
        "ts": START_MS + 1000 * number,
        "key_id": f"key{number % 2}",
        "tenant": "acme",
        "base_sha256": BASE,
        "adapters": adapters,
        "prompt_tokens": tuple(range(100 + number)),
        "completion": tuple(range(20 + number)),
        "cached_tokens": 16 * (number % 3),
        "sampling": Sampling(0.7, 0.9, number),
        "ttft_ms": 12.5,
        "e2e_ms": 80.0,
    }
    return ServedRequest(**{**facts, **given})


def mixed_requests(count: int, first: int = 0) -> list[ServedRequest]:
    """Requests for the base, one adapter with DataNets, one without a manifest, and an ensemble."""
    law, bare, notes = adapter("1", LAW), adapter("2"), adapter("3", NOTES)
    kinds = [(), (law,), (bare,), (adapter("1", LAW, weight=0.7), adapter("3", NOTES, weight=-0.3)), (notes,)]
    return [request(i, *kinds[i % len(kinds)]) for i in range(first, first + count)]


def open_log(folder: Path, tariff: Tariff | None = None, **given: Any) -> BillingLog:
    return BillingLog(folder, BASE, TOKENIZER, tariff or Tariff.illustrative(), **given)


def filled_log(folder: Path, count: int = 12, **given: Any) -> BillingLog:
    log = open_log(folder, **given)
    for served in mixed_requests(count):
        log.append(served)
    return log
