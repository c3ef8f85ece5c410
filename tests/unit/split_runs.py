"""A tiny experiment of the real engine, computed in every way that there is."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import small_world as small

from sim.economy import Economy
from sim.experiment.execute import Order, run_experiment
from sim.experiment.progress import Progress
from sim.results import Run, load_run
from sim.results.manifest import Manifest

FAST = ("fees.input=0.10 USD/1M tokens", "fees.output=0.40 USD/1M tokens", "demand.adoption.bass.p=0.05/day")
AGENTS, DAYS = 50, 12


def tiny(runs: int, days: int = DAYS, twin_runs: int = 2) -> Economy:
    """Return an economy of 50 agents and a few days in which service is sold from the first day."""
    settings = (*FAST, f"runs.count={runs}", f"runs.twin_runs={twin_runs}")
    return small.economy(*settings, agents=AGENTS, days=days)


def order(economy: Economy, out: Path, **how: Any) -> Order:
    plain = Order(economy=economy, out=out, workers=1, chain=False, resume=False, command="a test", block=16)
    return replace(plain, **how)


def computed(economy: Economy, out: Path, **how: Any) -> Run:
    return load_run(run_experiment(order(economy, out, **how), silent))


def files(directory: Path) -> dict[str, str]:
    """Return the hash of every final table."""
    return Manifest.read(directory).files


def silent(progress: Progress) -> None:
    assert 0.0 <= progress.fraction <= 1.0
