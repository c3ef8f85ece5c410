"""Benches: the one format in which ratios are told.

Rule decided here: a figure is a ratio, a share or a time with its bar, its verdict and its raw samples; one whose peer
is not installed has no value and says how to install it.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sim.results.code import code_version

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a bench.

    Parameters
    ----------
    id
        Its public name.
    value
        The number, or None where its peer is not installed.
    unit, better
        Its unit, and which way is better.
    bar
        The worst value that passes, or None where there is none.
    detail
        Raw samples, or how to install the peer.
    """

    id: str
    value: float | None
    unit: str
    better: Literal["higher", "lower"] = "higher"
    bar: float | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool | None:
        """Whether it passes; None where there is nothing to compare."""
        if self.value is None or self.bar is None:
            return None
        return self.value >= self.bar if self.better == "higher" else self.value <= self.bar

    def as_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints of it."""
        return {
            "id": self.id, "value": self.value, "unit": self.unit, "better": self.better, "bar": self.bar,
            "ok": self.ok, "detail": self.detail,
        }  # fmt: skip


def document(bench: str, figures: Sequence[Figure]) -> dict[str, Any]:
    """Return the object that ``olsim bench <bench> --json`` prints."""
    return {
        "bench": bench,
        "machine": machine(),
        "code_version": code_version()[:12],
        "figures": [figure.as_dict() for figure in figures],
    }


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as lines of text."""
    lines = [f"{'figure':<34}{'value':>10}  {'unit':<8}{'bar':>8}  ok"]
    for figure in figures:
        value = "missing" if figure.value is None else f"{figure.value:,.2f}"
        bar = "-" if figure.bar is None else f"{figure.bar:g}"
        verdict = {None: figure.detail.get("install", "-"), True: "yes", False: "NO"}[figure.ok]
        lines.append(f"{figure.id:<34}{value:>10}  {figure.unit:<8}{bar:>8}  {verdict}")
    return "\n".join(lines) + "\n"


def machine() -> dict[str, Any]:
    """Return what measured: the processor, its cores, Python, and how busy it was (load of the last minute)."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_1m": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
