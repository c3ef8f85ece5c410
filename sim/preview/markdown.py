"""Markdown: a preview as a page that reads without tools."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from models.units import GWEI_PER_OPEN
from sim.observables import BY_NAME
from sim.preview.differences import Delta
from sim.preview.groups import classes
from sim.preview.preview import Preview


def render(result: Preview) -> str:
    """Return the preview as Markdown, contents first."""
    data = result.as_json()
    chain = result.chain
    parts = [
        f"# Preview: {data['title']}",
        data["verdict"],
        f"Submitted {data['submit']}, executed {data['executed']} where it passes. {data['runs']} paired "
        f"runs, seed {data['seed']}, {data['days']} days.",
        "Contents: [differences](#differences), [winners and losers](#winners-and-losers), [chain](#chain), "
        "[notes](#notes)",
        "## Differences",
        "Proposal less baseline, same luck in both; horizons count from the execution.",
        _deltas(result.deltas, "if_executed"),
        "### Expected, weighted by the chance to pass",
        _deltas(result.deltas, "expected"),
        "## Winners and losers",
        "By class; a group's value is what it was paid since the execution plus what it holds.",
        _groups(result.groups),
        "## Chain",
        _table(
            ("check", "status", "detail"), [[c["check"], c["status"], c["detail"]] for c in chain["checks"]]
        ),
        _table(("changed", "unit"), [[c["sentence"], c["unit"]] for c in chain["state_changes"]]),
        _table(
            ("transaction", "timestamp", "gas"),
            [[t["step"], str(t["timestamp"]), f"{t['gas']:,}"] for t in chain["transactions"]],
        ),
        "## Notes",
        "\n".join(f"- {note}" for note in result.notes) or "None.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _deltas(deltas: Sequence[Delta], view: str) -> str:
    rows = []
    for delta in (d for d in deltas if d.view == view):
        scale = GWEI_PER_OPEN if delta.unit.startswith("gwei") else 1
        over = delta.spread
        numbers = [f"{value / scale:,.4g}" for value in (delta.baseline, over.p05, over.p50, over.p95)]
        worse = "" if over.p_worse is None else f"{over.p_worse:.0%}"
        unit = delta.unit.replace("gwei", "OPEN")
        rows.append([BY_NAME[delta.metric].label, f"{delta.horizon_days} d", unit, *numbers, worse])
    return _table(("metric", "after", "unit", "baseline", "5 %", "median", "95 %", "worse in"), rows)


def _groups(rows: Iterable[dict[str, Any]]) -> str:
    all_rows = list(rows)
    horizons = sorted({int(row["horizon_days"]) for row in all_rows})
    body = [
        [
            str(row["class"]), f"{horizon} d", f"{row['baseline']:,.4g}", f"{row['mean']:+,.4g}",
            "" if row["change_percent"] is None else f"{row['change_percent']:+.2f} %",
            f"{row['p05']:+,.4g} to {row['p95']:+,.4g}",
        ]
        for horizon in horizons for row in classes(all_rows, horizon)
    ]  # fmt: skip
    return _table(("class", "after", "USD per agent", "change", "relative", "5 to 95 %"), body)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(cell.replace("|", "/") for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)
