"""What attribution costs beside the answers: copies that gain, bytes and rates of the log, lookups of spans.

Rule decided here: which of these figures the bench has, and their bars. The log is written to a temporary folder of the
work folder, 1.2 GB for a million records, and is gone afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from reference_node.attribution.bench.copies import copy_figures
from reference_node.attribution.bench.rig import Rig
from reference_node.attribution.spans_measure import span_lookup
from reference_node.bench.figure import bench_figure
from reference_node.billing.measure import log_rates, record_bytes

Progress = Callable[[str], None]

RATE_BAR = 20_000
RECORD_BAR = 400
LOOKUP_BAR_MS = 1.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the log and the corpus of the lookups are.

    Parameters
    ----------
    records
        Of the log.
    corpus_tokens
        Of the span index.
    """

    records: int = 1_000_000
    corpus_tokens: int = 10_000_000


def cost_figures(
    rig: Rig, work: Path, progress: Progress, sizes: Sizes | None = None
) -> list[dict[str, Any]]:
    """Measure and return the figures of copies, log and lookups.

    Parameters
    ----------
    rig
        The fixture whose contributors copy.
    work
        Folder for temporary files.
    progress
        Told of each part.
    sizes
        Those of the bench unless others are given.
    """
    used = sizes or Sizes()
    progress("copies")
    figures = copy_figures(rig)
    progress(f"log of {used.records:,} records")
    figures += log_figures(work, used.records)
    progress(f"span lookups, {used.corpus_tokens:,} tokens")
    found = span_lookup(used.corpus_tokens)
    figures.append(
        bench_figure("span_lookup_ms.10m", found.pop("value"), "ms", "lower", LOOKUP_BAR_MS, found)
    )
    return figures


def log_figures(work: Path, records: int) -> list[dict[str, Any]]:
    """Return the figures of the log: records appended and audited per second, bytes of a record that names eight data.

    Parameters
    ----------
    work
        Folder for the logs, which are removed.
    records
        Of the log whose rates are measured.
    """
    work.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=work) as folder:
        found = log_rates(Path(folder) / "rates", records)
        size = record_bytes(Path(folder) / "bytes")
    append, checked = (
        {name: found[name] for name in found if name.startswith(start)} for start in ("append_", "audit_")
    )
    log = {name: found[name] for name in found if name not in append | checked}
    return [
        bench_figure(
            "log.append_per_s", append.pop("append_per_s"), "records/s", "higher", RATE_BAR, log | append
        ),
        bench_figure(
            "log.audit_per_s", checked.pop("audit_per_s"), "records/s", "higher", RATE_BAR, log | checked
        ),
        bench_figure("record_bytes.k8", size, "bytes", "lower", RECORD_BAR, {"named": 8}),
    ]
