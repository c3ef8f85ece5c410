"""Influence profile: how the answers of each query class rest on DataNets.

Rule decided here: what the simulation takes from the file that the attribution engine writes. A class names
mean shares of its DataNets by rank, how closely months keep to them (a Dirichlet concentration), and the
share of answers on which no data had influence. Format and checks of the file: `sim/scenario/influence.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from sim.scenario.influence import influence_problem

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Influence:
    """The profile of the scenario's query classes, in their order.

    Parameters
    ----------
    mean_shares
        Mean share of each rank of DataNet, float64 (classes, ranks); rows sum to 1.
    concentration
        Dirichlet concentration of a month's shares, float64 (classes,).
    no_influence_bps
        Share of answers on which no data had positive influence, int64 basis points (classes,).
    measured
        Whether the attribution engine measured the profile.
    """

    mean_shares: Float
    concentration: Float
    no_influence_bps: NDArray[np.int64]
    measured: bool


def load_influence(path: Path, query_classes: Sequence[str]) -> Influence:
    """Read a profile.

    Parameters
    ----------
    path
        The JSON file.
    query_classes
        Classes of the scenario's demand.

    Raises
    ------
    models.errors.InputError
        If the file is no profile, or lacks one of the classes.
    """
    problem = influence_problem(path, query_classes)
    if problem:
        raise InputError(problem)
    data = json.loads(path.read_text(encoding="utf-8"))
    entries = [data["query_classes"][name] for name in query_classes]
    return Influence(
        mean_shares=np.array([entry["mean_shares"] for entry in entries], np.float64),
        concentration=np.array([entry["concentration"] for entry in entries], np.float64),
        no_influence_bps=np.array(
            [round(entry.get("no_influence", 0) * 10_000) for entry in entries], np.int64
        ),
        measured=bool(data["provenance"]["measured"]),
    )


def month_shares(profile: Influence, normal: Float) -> Float:
    """Return the shares of one month.

    A Dirichlet draw is a set of gamma variables over their sum. Lognormal ones of the same mean and relative
    variance, 1 / (m c) for a mean share m and concentration c, stand for them, because keyed draws need
    elementary quantiles.

    Parameters
    ----------
    profile
        The profile.
    normal
        Keyed standard normals, float64 (runs, classes, ranks).

    Returns
    -------
    numpy.ndarray
        float64 (runs, classes, ranks); each class's shares sum to 1.
    """
    mean = profile.mean_shares
    sigma = np.sqrt(np.log1p(1.0 / (np.maximum(mean, 1e-12) * profile.concentration[:, None])))
    drawn = mean * np.exp(sigma * normal - sigma**2 / 2)
    return np.asarray(drawn / drawn.sum(axis=2, keepdims=True))
