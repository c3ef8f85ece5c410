"""Stopping rule: runs are added in blocks until a mean is known well enough.

Rule decided here: after every block the half-width of Student's interval of a metric's mean on a day is compared with
the width asked for; the next block is as large as the spread seen so far says is needed, at least `BLOCK` and at most
as many runs as there are. Looking again and again makes the interval cover the mean a little less often than it says
(Chow and Robbins, Annals of Mathematical Statistics 36, 1965: the level is met as the width goes to 0); the rule never
stops before `FIRST_LOOK` runs, where the shortfall of a 95 % interval is about 1 to 2 points, and the manifest's number
of runs shows that it was used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import InputError
from sim.experiment.statistics import MeanInterval, mean_interval
from sim.observables import BY_NAME
from sim.scenario.words import did_you_mean

if TYPE_CHECKING:
    import polars as pl

    from sim.economy import Economy
    from sim.experiment.execute import Order
    from sim.experiment.progress import Progress

FIRST_LOOK = 32
"""Fewest runs after which the interval is looked at."""

BLOCK = 16
"""Fewest runs that are added at once."""

MAX_RUNS = 10_000
"""Runs after which a rule gives up, unless somebody says otherwise."""

GWEI_PER_TOKEN = 1e9


@dataclass(frozen=True, slots=True)
class Target:
    """How well a mean is to be known.

    Parameters
    ----------
    metric
        Observable.
    width
        Half-width of the 95 % interval that is small enough, in the observable's unit.
    relative
        Whether the width is a share of the mean.
    day
        Day, or None for the last.
    """

    metric: str
    width: float
    relative: bool = False
    day: int | None = None

    def __str__(self) -> str:
        """Return the text that is parsed to this target."""
        width = f"{self.width * 100:g}%" if self.relative else f"{self.width:g}"
        return f"{self.metric}={width}" + ("" if self.day is None else f"@{self.day}")


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a target showed.

    Parameters
    ----------
    target
        The target.
    interval
        Mean and interval, in the observable's unit.
    met
        Whether the interval is narrow enough.
    """

    target: Target
    interval: MeanInterval
    met: bool

    @property
    def half(self) -> float:
        """Half-width of the interval."""
        return (self.interval.high - self.interval.low) / 2

    @property
    def text(self) -> str:
        """The look in words."""
        word = "met" if self.met else "not met"
        return (
            f"{self.target}: {self.interval.mean:.6g} ± {self.half:.3g} after {self.interval.n} runs, {word}"
        )


_TARGET = re.compile(r"(?P<metric>\w+)=(?P<width>[0-9.eE+-]+)(?P<percent>\s*%)?(?:@(?P<day>\d+))?")


def parse_target(text: str, days: int) -> Target:
    """Return the target that ``METRIC=WIDTH[%][@DAY]`` says.

    Parameters
    ----------
    text
        Such as ``price_usd=0.01@365`` or ``price_usd=2%``.
    days
        Last day of the run.

    Raises
    ------
    InputError
        If the metric is unknown, the width not above 0, or the day not in the run.

    Examples
    --------
    >>> parse_target("price_usd=2%@365", 1461)
    Target(metric='price_usd', width=0.02, relative=True, day=365)
    """
    match = _TARGET.fullmatch(text.strip())
    if match is None:
        raise InputError(f"--until-ci {text}: expected METRIC=WIDTH, METRIC=WIDTH% or either with @DAY")
    if match["metric"] not in BY_NAME:
        hint = did_you_mean(match["metric"], BY_NAME)
        raise InputError(f"--until-ci {text}: '{match['metric']}' is no observable{hint}")
    try:
        width = float(match["width"])
    except ValueError:
        width = math.nan
    if not 0 < width < math.inf:
        raise InputError(f"--until-ci {text}: width {match['width']} is out of range; allowed above 0")
    day = None if match["day"] is None else int(match["day"])
    if day is not None and day > days:
        raise InputError(f"--until-ci {text}: day {day} is out of range; allowed 0 to {days}")
    relative = match["percent"] is not None
    return Target(match["metric"], width / 100 if relative else width, relative, day)


def look(metrics: pl.DataFrame, target: Target) -> Look:
    """Return how well a mean is known from the runs that there are.

    Parameters
    ----------
    metrics
        Rows by run and day.
    target
        What is to be known.

    Raises
    ------
    InputError
        If fewer than two runs have a value: no number of runs would help.
    """
    import polars as pl

    day = int(metrics["day"].to_numpy().max()) if target.day is None else target.day
    values = (
        metrics.filter(pl.col("day") == day)[target.metric].cast(pl.Float64).fill_null(math.nan).to_numpy()
    )
    scale = GWEI_PER_TOKEN if target.metric.endswith("_gwei") else 1.0
    interval = mean_interval(values / scale)
    if interval.n < 2:
        raise InputError(
            f"--until-ci {target}: {interval.n} of {len(values)} runs have a value on day {day}; "
            "an interval needs two (some metrics are known on the last day of a month only)"
        )
    half, wanted = (interval.high - interval.low) / 2, target.width
    if target.relative:
        wanted *= abs(interval.mean)
    return Look(target, interval, half <= wanted)


def next_runs(looks: Sequence[Look], runs: int, most: int) -> int:
    """Return how many runs there shall be at the next look.

    The half-width falls with the square root of the runs, so the runs that are needed are those there are times the
    square of half-width over wanted width.

    Parameters
    ----------
    looks
        What the last look showed; some are not met.
    runs
        Runs that there are.
    most
        Runs that there may be.
    """
    needed = float(runs)
    for shown in looks:
        wanted = shown.target.width * (abs(shown.interval.mean) if shown.target.relative else 1.0)
        if not shown.met:
            needed = max(needed, runs * (shown.half / wanted) ** 2 if wanted else math.inf)
    return min(most, max(runs + BLOCK, math.ceil(min(needed, 2.0 * runs))))


def run_until(
    order: Order,
    targets: Sequence[Target],
    most: int,
    tell: Callable[[Progress], None],
    *,
    command: Callable[[int], str],
    on_look: Callable[[Look], None],
) -> tuple[Path, list[Look]]:
    """Add runs to a run directory until every target is met or there are `most` runs.

    Parameters
    ----------
    order
        The first block: its scenario's number of runs, at least `FIRST_LOOK`.
    targets
        What is to be known.
    most
        Runs after which to give up.
    tell
        Told the progress of every block.
    command
        From a number of runs to the command that gives the same numbers.
    on_look
        Called with every look.

    Returns
    -------
    tuple
        The run directory, and the last look at every target.

    Raises
    ------
    InputError
        If the first block is larger than `most`, or a target can never be met.
    """
    from sim.experiment.execute import run_experiment
    from sim.results.tables import read_parquet

    runs = max(order.economy.scenario.runs.count, FIRST_LOOK)
    if runs > most:
        raise InputError(
            f"--max-runs {most} is out of range; allowed {runs} or more, the runs before the first look"
        )
    resume = order.resume
    while True:
        block = replace(order, economy=_with_runs(order, runs), resume=resume, command=command(runs))
        directory = run_experiment(block, tell)
        metrics = read_parquet(directory / "metrics.parquet", ["run", "day", *{t.metric for t in targets}])
        looks = [look(metrics, target) for target in targets]
        for shown in looks:
            on_look(shown)
        if all(shown.met for shown in looks) or runs >= most:
            return directory, looks
        runs, resume = next_runs(looks, runs, most), True


def _with_runs(order: Order, runs: int) -> Economy:
    """Return the order's economy with another number of runs, which is no part of the world's hash."""
    scenario = order.economy.scenario
    counted = scenario.runs.model_copy(update={"count": runs})
    return replace(order.economy, scenario=scenario.model_copy(update={"runs": counted}))
