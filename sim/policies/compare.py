"""Comparison: the same scenario under each serving policy, with the same draws.

Rule decided here: a policy's arm differs from the scenario in `serving.cache.policy` alone, so that run k of every arm
has the same luck and differences are taken run by run. Figures are those of the last days of the run, when the service
has been sold for longest; the reference of differences is `lru` where it is among the policies, else the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.caching import SERVING_POLICIES
from models.errors import InputError
from sim.experiment.statistics import Spread, spread
from sim.policies.measures import FIGURES, Window, ratio
from sim.preview.arms import Arm, Simulate, Size, simulate
from sim.scenario.words import did_you_mean

if TYPE_CHECKING:
    from sim.scenario.schema import Scenario

Float = NDArray[np.float64]
REFERENCE = "lru"
WINDOW_DAYS = 30

WORDS: Mapping[str, str] = {
    "lru": "adapters share replicas; the least recently used makes room",
    "unload_always": "adapters share replicas; each is unloaded after its request (OpenLoRA as published)",
    "resident": "adapters share replicas; the most popular are always there, the others are refused",
    "dedicated": "every model on offer has replicas of its own, merged into its base",
}
"""What a policy does, in words."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One figure of one policy.

    Parameters
    ----------
    values
        Per run, (runs,), NaN where there is none.
    at
        Median and 5/95 over runs.
    difference
        The same of the difference to the reference, run by run; None for the reference itself.
    """

    values: Float
    at: Spread
    difference: Spread | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All figures of all policies.

    Parameters
    ----------
    scenario, size
        The world and how much of it was computed.
    policies, reference
        In the order asked for, and the one that differences refer to.
    outcomes
        (policy, figure key) -> its outcome.
    saving, sharing
        Share of the cost of `dedicated` that the reference saves, and how many of its replicas one of the
        reference stands for, per run, both at the fewest replicas that serve all demand; empty without
        `dedicated` or where it is the reference.
    arms
        Daily metrics by policy, for pictures.
    """

    scenario: Scenario
    size: Size
    policies: tuple[str, ...]
    reference: str
    outcomes: Mapping[tuple[str, str], Outcome]
    saving: Float
    sharing: Float
    arms: Mapping[str, Mapping[str, NDArray[Any]]]

    def outcome(self, policy: str, key: str) -> Outcome:
        """Return a figure of a policy."""
        return self.outcomes[policy, key]


def read_policies(text: str) -> tuple[str, ...]:
    """Return policies from a comma-separated list.

    Raises
    ------
    InputError
        With every name that is unknown, or when there is none.

    Examples
    --------
    >>> read_policies("lru, dedicated")
    ('lru', 'dedicated')
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = ", ".join(SERVING_POLICIES)
    wrong = [
        f"--policies: '{name}' is unknown{did_you_mean(name, SERVING_POLICIES)}; allowed {known}"
        for name in names
        if name not in SERVING_POLICIES
    ]
    if wrong or not names:
        raise InputError(wrong or [f"--policies is empty; allowed {known}"])
    return tuple(dict.fromkeys(names))


def with_policy(scenario: Scenario, policy: str) -> Scenario:
    """Return the scenario under another serving policy."""
    cache = scenario.serving.cache.model_copy(update={"policy": policy})
    return scenario.model_copy(update={"serving": scenario.serving.model_copy(update={"cache": cache})})


def compare(
    scenario: Scenario,
    policies: Sequence[str],
    size: Size,
    live: Simulate = simulate,
    tell: Callable[[str], None] = lambda policy: None,
) -> Comparison:
    """Live the scenario under each policy and compare.

    Parameters
    ----------
    scenario
        The world; its own policy does not matter.
    policies
        Names of `models.caching.SERVING_POLICIES`.
    size
        Runs, agents, last day, processes.
    live
        From a scenario and a size to an arm.
    tell
        Called with each policy before it is simulated.
    """
    arms: dict[str, Arm] = {}
    for policy in policies:
        tell(policy)
        arms[policy] = live(with_policy(scenario, policy), size)
    reference = REFERENCE if REFERENCE in policies else policies[0]
    windows = {policy: Window.of(scenario, arm.metrics, WINDOW_DAYS) for policy, arm in arms.items()}
    outcomes = {}
    for figure in FIGURES:
        base = figure.of(windows[reference])
        for policy in policies:
            values = figure.of(windows[policy])
            apart = None if policy == reference else spread(values - base)
            outcomes[policy, figure.key] = Outcome(values, spread(values), apart)
    saving = sharing = np.empty(0)
    if "dedicated" in policies and reference != "dedicated":
        cost, need = (
            [outcomes[name, key].values for name in (reference, "dedicated")]
            for key in ("cost_needed", "needed")
        )
        saving, sharing = 1.0 - ratio(cost[0], cost[1]), ratio(need[1], need[0])
    metrics = {name: arm.metrics for name, arm in arms.items()}
    return Comparison(scenario, size, tuple(policies), reference, outcomes, saving, sharing, metrics)
