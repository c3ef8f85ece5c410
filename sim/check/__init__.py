"""Formula tests as data: inputs and exact expected values in YAML or CSV, run against `models`."""

from __future__ import annotations

from sim.check.cases import Case, collect
from sim.check.runner import Result, run_case

__all__ = ["Case", "Result", "collect", "run_case"]
