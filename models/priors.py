"""Priors: how an uncertain input becomes one number per run.

Rule decided here: a draw is the quantile function of the distribution at a keyed uniform, so one uniform gives one
value and a run's luck does not depend on which other inputs are uncertain. Normal and lognormal are truncated to
their bounds: the uniform is squeezed between the probabilities of the bounds, no draw is thrown away.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from models.beta import beta_quantile

Float = NDArray[np.float64]

KINDS: Mapping[str, tuple[str, ...]] = {
    "uniform": ("low", "high"),
    "triangular": ("low", "mode", "high"),
    "normal": ("mean", "sd"),
    "lognormal": ("median", "sigma"),
    "pert": ("low", "mode", "high"),
    "beta": ("low", "high", "a", "b"),
    "choice": (),
}
"""Known distributions and the numbers that describe them; a choice has any number of values."""

PLAIN = {"lognormal": (1,), "beta": (2, 3)}
"""Positions of numbers without a unit: the spread of a logarithm and the shapes of a beta."""

TRUNCATED = ("normal", "lognormal")
"""Distributions without ends of their own."""

_PERT_WEIGHT = 4.0
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Prior:
    """A distribution by name.

    Parameters
    ----------
    kind
        ``uniform`` [low, high], ``triangular`` [low, mode, high], ``normal`` [mean, sd], ``lognormal`` [median, sigma
        of the logarithm], ``pert`` [low, mode, high], ``beta`` [low, high, a, b] or ``choice`` [value, ...], each
        value as likely as it is often written.
    arguments
        The numbers, in the parameter's unit.
    low, high
        Bounds of a normal or lognormal, in the parameter's unit.
    rationale
        Why it is this distribution.
    """

    kind: str
    arguments: tuple[float, ...]
    low: float = -math.inf
    high: float = math.inf
    rationale: str = ""

    def __post_init__(self) -> None:
        """Refuse an unknown kind, a wrong count of numbers, or numbers out of order."""
        kind, a = self.kind, self.arguments
        if kind not in KINDS:
            raise ValueError(f"prior '{kind}' is unknown; expected one of {', '.join(KINDS)}")
        names = KINDS[kind]
        if len(a) != len(names) if names else not a:
            wanted = f"{len(names)} numbers" if names else "one number or more"
            raise ValueError(f"prior {kind} takes {wanted}, not {len(a)}")
        if not all(math.isfinite(x) for x in a):
            raise ValueError(f"prior {kind} has a number that is not finite")
        rising = a[:2] if kind == "beta" else a if "low" in names else ()
        if list(rising) != sorted(rising):
            raise ValueError(f"prior {kind} needs its numbers in rising order, not {list(rising)}")
        if kind in TRUNCATED and a[1] < 0:
            raise ValueError(f"prior {kind} has a negative spread {a[1]}")
        if kind == "lognormal" and a[0] <= 0:
            raise ValueError(f"prior lognormal needs a median above 0, not {a[0]}")
        if kind == "beta" and min(a[2:]) <= 0:
            raise ValueError(f"prior beta needs shapes above 0, not {list(a[2:])}")
        if kind in TRUNCATED and not self.low <= a[0] <= self.high:
            raise ValueError(f"prior {kind} has its middle {a[0]:g} outside {self.low:g} to {self.high:g}")

    @property
    def central(self) -> float:
        """One value that stands for all: the mode of triangular and PERT, the first choice, else the median."""
        if self.kind == "uniform":
            return sum(self.arguments) / 2
        if self.kind == "beta":
            return float(self.quantile(np.array([0.5]))[0])
        return self.arguments[1] if self.kind in ("triangular", "pert") else self.arguments[0]

    @property
    def ends(self) -> tuple[float, float]:
        """Least and greatest value that can be drawn; infinite where there is none."""
        if self.kind in TRUNCATED:
            return self.low, self.high
        given = self.arguments[:2] if self.kind == "beta" else self.arguments
        return min(given), max(given)

    def quantile(self, u: Float) -> Float:
        """Return the value at probability `u`, element by element.

        Parameters
        ----------
        u
            Uniforms in (0, 1), any shape.

        Returns
        -------
        numpy.ndarray
            Values in the parameter's unit, shape of `u`.
        """
        a = self.arguments
        match self.kind:
            case "uniform":
                return a[0] + (a[1] - a[0]) * u
            case "triangular":
                return _triangular(u, *a)
            case "pert":
                return _pert(u, *a)
            case "beta":
                return a[0] + (a[1] - a[0]) * beta_quantile(u, a[2], a[3])
            case "choice":
                return np.asarray(a, np.float64)[np.minimum((u * len(a)).astype(np.int64), len(a) - 1)]
            case "normal":
                return np.clip(a[0] + a[1] * self._standard(u, self.low, self.high), self.low, self.high)
        low, high = (math.log(x) if x > 0 else -math.inf for x in (self.low, self.high))
        centred = self._standard(u, low - math.log(a[0]), high - math.log(a[0]), mean=0.0)
        return np.clip(a[0] * np.exp(a[1] * centred), self.low, self.high)

    def _standard(self, u: Float, low: float, high: float, mean: float | None = None) -> Float:
        """Return standard normals between the bounds, which are in the distribution's own unit."""
        middle, spread = self.arguments[0] if mean is None else mean, self.arguments[1]
        if spread == 0:
            return np.zeros(np.shape(u))
        ends = [_NORMAL.cdf((bound - middle) / spread) for bound in (low, high)]
        return _normal(ends[0] + (ends[1] - ends[0]) * np.asarray(u))


def _normal(u: Float) -> Float:
    flat = [_NORMAL.inv_cdf(min(max(x, 1e-16), 1 - 1e-16)) for x in np.ravel(u)]
    return np.array(flat).reshape(np.shape(u))


def _triangular(u: Float, low: float, mode: float, high: float) -> Float:
    if high == low:
        return np.full(np.shape(u), low)
    split = (mode - low) / (high - low)
    left = low + np.sqrt(u * (high - low) * (mode - low))
    right = high - np.sqrt((1 - u) * (high - low) * (high - mode))
    return np.where(u < split, left, right)


def _pert(u: Float, low: float, mode: float, high: float) -> Float:
    """Return quantiles of the PERT: a beta on [low, high] whose mean is (low + 4 mode + high) / 6."""
    if high == low:
        return np.full(np.shape(u), low)
    a = 1 + _PERT_WEIGHT * (mode - low) / (high - low)
    return low + (high - low) * beta_quantile(u, a, 2 + _PERT_WEIGHT - a)
