"""How fast the log is: records appended and audited per second, and the bytes of a record.

Rules decided here. Everything that the node does is in the figures: a request is billed, its influence named, its
record chained, its operations line written (groups of 256 requests, one write each of records and lines, forced to the
disk every 4,096 records or second); the audit computes all of it again from the bytes, with one process and with two,
of which the faster counts. Requests have 64 tokens in and 256 out, one adapter with eight contributors, and influence
of `named` of them. A rate is of the whole log, syncs included; making the requests is not in it.
"""

from __future__ import annotations

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

GROUP = 256
PART = 25 * GROUP
SYNC = SyncPolicy(every=4096, after_ms=1000)
CONTRIBUTORS = 8
PROCESSES = (1, 2)
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
    samples, append_s, processor_s = _append(folder, records, named)
    audits_s = {}
    for processes in PROCESSES:
        began = time.perf_counter()
        report = audit(folder, processes=processes)
        audits_s[processes] = time.perf_counter() - began
    rates = {processes: round(report.records / seconds) for processes, seconds in audits_s.items()}
    segments = sum(path.stat().st_size for path in folder.glob("*.seg"))
    return {
        "append_per_s": round(report.records / append_s),
        "audit_per_s": max(rates.values()),
        "audit_per_s_by_processes": rates,
        "records": report.records,
        "named": named,
        "group": GROUP,
        "sync": f"every {SYNC.every} records or {SYNC.after_ms} ms",
        "segment_bytes_per_record": round(segments / report.records, 1),
        "append_samples_per_s": samples,
        "append_s": round(append_s, 2),
        "append_processor_s": round(processor_s, 2),
        "audit_s": {processes: round(seconds, 2) for processes, seconds in audits_s.items()},
        "root": report.root,
    }


def _append(folder: Path, records: int, named: int) -> tuple[list[int], float, float]:
    """Write a log; return the rate of each part, and the seconds that all took, by the clock and of the processor."""
    log = BillingLog(folder, _BASE, "70" * 32, Tariff.illustrative(), sync=SYNC)
    samples, append_s, processor_s = [], 0.0, 0.0
    try:
        for part in _parts(records, named):
            began, used = time.perf_counter(), time.process_time()
            for start in range(0, len(part), GROUP):
                log.append_all(part[start : start + GROUP])
            took = time.perf_counter() - began
            samples.append(round(len(part) / took))
            append_s, processor_s = append_s + took, processor_s + time.process_time() - used
    finally:
        began = time.perf_counter()
        log.close()
    return samples, append_s + time.perf_counter() - began, processor_s


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
