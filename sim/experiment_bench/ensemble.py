"""A thousand runs of a whole economy against one run of Mesa on the small one.

Rule decided here: the ensemble is run as `olsim run` does, chain off, its tables written as Parquet, without twins;
Mesa does one OTE-1 run of as many agents and days before it and one after, in this process and alone, and their mean
stands. A figure of fewer runs is scaled up, says so and is an estimate.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.bench import Figure, Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.experiment.progress import Progress as ProgressLine

RUNS, QUICK_RUNS, AGENTS, DAYS, WORKERS = 1000, 64, 10_000, 1461, 2
BAR = 15.0
INSTALL = 'pip install "olsim[peers]"'


@dataclass(frozen=True, slots=True)
class EnsembleSize:
    """Runs that are simulated, agents of each, last day, processes."""

    runs: int = RUNS
    agents: int = AGENTS
    days: int = DAYS
    workers: int = WORKERS


def ensemble_figure(
    path: Path, size: EnsembleSize, tell: Progress, mesa_s: Callable[[int, int], float] | None
) -> Figure:
    """Return the figure.

    Parameters
    ----------
    path
        The scenario.
    size
        What is simulated; with fewer than `RUNS` runs the time is scaled up to them.
    tell
        Told of the stages.
    mesa_s
        Seconds of one Mesa run of so many agents and days; None where Mesa is not installed.
    """
    name = "ensemble1000.over_one_mesa_run"
    if mesa_s is None:
        return Figure(name, None, "ratio", "lower", BAR, {"install": INSTALL})
    tell(f"Mesa: one run of {size.agents:,} agents x {size.days:,} days")
    before = mesa_s(size.agents, size.days)
    tell(f"ensemble: {size.runs:,} runs on {size.workers} cores, Mesa took {before:.1f} s")
    took = run_ensemble(path, size, tell)
    tell(f"Mesa again, the ensemble took {took['wall_s']:.1f} s")
    after = mesa_s(size.agents, size.days)
    scale = RUNS / size.runs
    detail = {
        "class": "measured" if size.runs == RUNS else "estimated",
        "extrapolated_from_runs": None if size.runs == RUNS else size.runs,
        "runs": size.runs,
        "agents": size.agents,
        "days": size.days,
        "workers": size.workers,
        "mesa_s": [round(before, 3), round(after, 3)],
        **took,
    }
    return Figure(name, scale * took["wall_s"] / ((before + after) / 2), "ratio", "lower", BAR, detail)


def run_ensemble(path: Path, size: EnsembleSize, tell: Progress) -> dict[str, Any]:
    """Run the scenario into a folder that is thrown away; return seconds, agent-steps per second and bytes."""
    from sim.engine import build_economy
    from sim.experiment.execute import Order, run_experiment
    from sim.scenario import load

    scenario = load(path, [f"runs.count={size.runs}", f"days={size.days}", "runs.twins=[]"])
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        economy = build_economy(scenario, agents=size.agents)
        order = Order(
            economy=economy,
            out=Path(folder) / "ensemble",
            workers=size.workers,
            chain=False,
            resume=False,
            command="",
        )
        directory = run_experiment(order, tenths(tell))
        wall_s = time.perf_counter() - began
        written = sum(file.stat().st_size for file in directory.rglob("*.parquet"))
    steps = size.runs * size.agents * (size.days + 1)
    return {"wall_s": round(wall_s, 3), "agent_steps_per_s": round(steps / wall_s), "parquet_bytes": written}


def tenths(tell: Progress) -> Callable[[ProgressLine], None]:
    """Return what tells a computation's progress at each tenth of it."""
    told = 0

    def hear(progress: ProgressLine) -> None:
        nonlocal told
        if int(10 * progress.fraction) > told and progress.remaining_s is not None:
            told = int(10 * progress.fraction)
            tell(f"ensemble: {progress.fraction:.0%}, {progress.remaining_s:.0f} s left")

    return hear
