"""Priors: how an uncertain input becomes one number per run.

Rule decided here: a draw is the quantile function of the distribution at a keyed uniform, so one uniform gives one
value and a run's luck does not depend on which other inputs are uncertain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

KINDS = {"uniform": 2, "triangular": 3, "normal": 2, "lognormal": 2}
"""Known distributions and how many numbers describe them."""


@dataclass(frozen=True, slots=True)
class Prior:
    """A distribution by name.

    Parameters
    ----------
    kind
        ``uniform`` [low, high], ``triangular`` [low, mode, high], ``normal`` [mean, sd] or
        ``lognormal`` [median, sigma of the logarithm].
    arguments
        The numbers, in the parameter's unit.
    """

    kind: str
    arguments: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse an unknown kind, a wrong count of numbers, or numbers out of order."""
        if self.kind not in KINDS:
            raise ValueError(f"prior '{self.kind}' is unknown; expected one of {', '.join(KINDS)}")
        if len(self.arguments) != KINDS[self.kind]:
            raise ValueError(f"prior {self.kind} takes {KINDS[self.kind]} numbers, not {len(self.arguments)}")
        if not all(math.isfinite(x) for x in self.arguments):
            raise ValueError(f"prior {self.kind} has a number that is not finite")
        if self.kind in ("uniform", "triangular") and list(self.arguments) != sorted(self.arguments):
            raise ValueError(
                f"prior {self.kind} needs its numbers in rising order, not {list(self.arguments)}"
            )
        if self.kind in ("normal", "lognormal") and self.arguments[1] < 0:
            raise ValueError(f"prior {self.kind} has a negative spread {self.arguments[1]}")
        if self.kind == "lognormal" and self.arguments[0] <= 0:
            raise ValueError(f"prior lognormal needs a median above 0, not {self.arguments[0]}")

    @property
    def central(self) -> float:
        """The median (the mode of a triangular), used where one value must stand for all."""
        if self.kind == "uniform":
            return sum(self.arguments) / 2
        return self.arguments[1] if self.kind == "triangular" else self.arguments[0]

    def quantile(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the value at probability `u`, element by element.

        Parameters
        ----------
        u
            Uniforms in [0, 1), any shape.

        Returns
        -------
        numpy.ndarray
            Values in the parameter's unit, shape of `u`.
        """
        a = self.arguments
        if self.kind == "uniform":
            return a[0] + (a[1] - a[0]) * u
        if self.kind == "triangular":
            return _triangular(u, *a)
        normal = NormalDist()
        z = np.array([normal.inv_cdf(min(max(x, 1e-16), 1 - 1e-16)) for x in np.ravel(u)]).reshape(
            np.shape(u)
        )
        return a[0] + a[1] * z if self.kind == "normal" else a[0] * np.exp(a[1] * z)


def _triangular(u: NDArray[np.float64], low: float, mode: float, high: float) -> NDArray[np.float64]:
    if high == low:
        return np.full(np.shape(u), low)
    split = (mode - low) / (high - low)
    left = low + np.sqrt(u * (high - low) * (mode - low))
    right = high - np.sqrt((1 - u) * (high - low) * (high - mode))
    return np.where(u < split, left, right)
