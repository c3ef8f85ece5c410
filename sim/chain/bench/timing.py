"""Timing: things measured in turn, so that a busy machine is busy for all of them.

Rule decided here: the first round warms up and is dropped; the order turns round by round; a ratio is the median of
the rounds' ratios.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

Step = Callable[[int], float]
"""Does its part of a round, given the round's number, and returns seconds per operation."""


def interleaved(steps: Mapping[str, Step], rounds: int) -> dict[str, list[float]]:
    """Return the seconds per operation of every round and step."""
    samples: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for number in range(rounds + 1):
        turned = names[number % len(names) :] + names[: number % len(names)]
        for name in turned:
            seconds = steps[name](number)
            if number:
                samples[name].append(seconds)
    return samples


def ratio(samples: Mapping[str, list[float]], slow: str, fast: str) -> float:
    """Return how many times `slow` takes of the time that `fast` takes.

    Examples
    --------
    >>> ratio({"a": [4.0, 6.0, 9.0], "b": [2.0, 2.0, 2.0]}, "a", "b")
    3.0
    """
    return median(a / b for a, b in zip(samples[slow], samples[fast], strict=True))


def milliseconds(samples: Mapping[str, list[float]]) -> dict[str, Any]:
    """Return samples for a figure's detail."""
    return {name: [round(1e3 * value, 4) for value in values] for name, values in samples.items()}
