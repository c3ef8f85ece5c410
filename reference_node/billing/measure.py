"""How fast the log is: records appended and audited per second, and the bytes of a record.

Rules decided here. Everything that the node does is in the figures: a request is billed, its influence named, its
record chained, its operations line written (groups of 64 requests, one write each of records and lines, forced to the
disk every 4,096 records or second); the audit computes all of it again from the bytes. Requests have 64 tokens in and
256 out, one adapter with eight contributors, and influence of `named` of them. A rate is the median over parts of the
log for appending, and of the whole log for the audit.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reference_node.billing.audit import audit
from reference_node.billing.log import BillingLog, SyncPolicy
from reference_node.billing.reading import LogReader
from reference_node.billing.served import Influence, ServedAdapter, ServedRequest
from reference_node.billing.tariff import Tariff
from reference_node.manifest import AdapterManifest, ContributorShare, DataNetShare

GROUP = 64
PART = 100 * GROUP
SYNC = SyncPolicy(every=4096, after_ms=1000)
CONTRIBUTORS = 8
_ADAPTER, _BASE = "ad" * 32, "ba" * 32
_START_MS = 1_760_000_000_000


def log_rates(folder: Path, records: int = 1_000_000, named: int = 3) -> dict[str, Any]:
    """Write a log, audit it, and return how fast both were.

    Parameters
    ----------
    folder
        Where to; about 1.2 kB a record.
    records
        How many.
    named
        Data that each record names, 0 to 8.

    Returns
    -------
    dict
        ``append_per_s``, ``audit_per_s`` and the samples and sizes behind them.
    """
    log = BillingLog(folder, _BASE, "70" * 32, Tariff.illustrative(), sync=SYNC)
    rates: list[float] = []
    try:
        for part in _parts(records, named):
            began = time.perf_counter()
            for start in range(0, len(part), GROUP):
                log.append_all(part[start : start + GROUP])
            rates.append(len(part) / (time.perf_counter() - began))
    finally:
        log.close()
    began = time.perf_counter()
    report = audit(folder)
    audit_s = time.perf_counter() - began
    segments = sum(path.stat().st_size for path in folder.glob("*.seg"))
    return {
        "append_per_s": round(statistics.median(rates)),
        "audit_per_s": round(report.records / audit_s),
        "records": report.records,
        "named": named,
        "group": GROUP,
        "sync": f"every {SYNC.every} records or {SYNC.after_ms} ms",
        "segment_bytes_per_record": round(segments / report.records, 1),
        "append_samples_per_s": [round(rate) for rate in rates],
        "audit_s": round(audit_s, 2),
        "root": report.root,
    }


def record_bytes(folder: Path) -> int:
    """Return the bytes of a record that names eight data."""
    log = BillingLog(folder, _BASE, "70" * 32, Tariff.illustrative())
    log.append_all(next(_parts(GROUP, CONTRIBUTORS)))
    log.close()
    return max(len(entry.data) for entry in LogReader(folder).entries())


def _parts(records: int, named: int) -> Iterator[list[ServedRequest]]:
    shares = tuple(
        ContributorShare(f"c{i}", f"0x{i + 1:040x}", 10_000 // CONTRIBUTORS) for i in range(CONTRIBUTORS)
    )
    manifest = AdapterManifest("0x" + "a" * 40, (DataNetShare("net", 10_000, shares),))
    adapter = ServedAdapter(_ADAPTER, "adapter", 1, manifest=manifest)
    prompt, completion = tuple(range(64)), tuple(range(256))
    for first in range(0, records, PART):
        yield [
            ServedRequest(
                request_id=f"{number:032x}",
                ts=_START_MS + number,
                key_id="key",
                tenant="tenant",
                base_sha256=_BASE,
                adapters=(adapter,),
                prompt_tokens=prompt,
                completion=completion,
                influence=_influence(number, named),
            )
            for number in range(first, min(first + PART, records))
        ]


def _influence(number: int, named: int) -> Influence | None:
    if not named:
        return None
    weight = 10**9 // named
    weights = {(_ADAPTER, "net", f"c{i}"): weight - 1000 * (number + i) % 1_000_003 for i in range(named)}
    return Influence("ef_base.v1", weights, '{"lambda":"0.1"}')
