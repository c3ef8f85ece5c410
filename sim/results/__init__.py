"""Results: the run directory, its writer and its reader (documentation: docs/results.md)."""

from __future__ import annotations

from sim.results.manifest import Manifest
from sim.results.reader import ParameterRow, Run, load_run

__all__ = ["Manifest", "ParameterRow", "Run", "load_run"]
