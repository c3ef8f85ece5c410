"""The influence profile: which part of a model's use each datanet earns, by class of query.

Rule decided here: the format that the node's attribution engine writes and the simulation reads. Shares are
drawn per adapter from a Dirichlet with the profile's mean and concentration, so the file holds no money and
no identity.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SCHEMA = "influence.v1"
_KEYS = ("schema", "id", "provenance", "policy", "ranks", "query_classes")


def influence_problem(path: Path, query_classes: Iterable[str]) -> str:
    """Return what is wrong with an influence profile, or "".

    Parameters
    ----------
    path
        The JSON file.
    query_classes
        Classes that the scenario's demand uses.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        return f"{path.name} is not JSON: {error}"
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        return f"{path.name} is not an influence profile of schema {SCHEMA}"
    missing = [key for key in _KEYS if key not in data]
    if missing:
        return f"{path.name} lacks {', '.join(missing)}"
    if not isinstance(data["provenance"], dict) or not isinstance(data["provenance"].get("measured"), bool):
        return f"{path.name} does not say provenance.measured: true or false"
    absent = [name for name in query_classes if name not in data["query_classes"]]
    if absent:
        return f"{path.name} has no query class {', '.join(absent)}"
    wrong = [_class_problem(entry, data["ranks"]) for entry in data["query_classes"].values()]
    return next((f"{path.name}: {text}" for text in wrong if text), "")


def _class_problem(entry: Any, ranks: Any) -> str:
    shares = entry.get("mean_shares") if isinstance(entry, dict) else None
    if not isinstance(shares, list) or len(shares) != ranks:
        return f"mean_shares must hold {ranks} numbers, one per rank of datanet"
    if any(not isinstance(x, int | float) or x < 0 for x in shares) or not math.isclose(
        sum(shares), 1, abs_tol=1e-9
    ):
        return "mean_shares must be 0 or more and sum to 1"
    concentration = entry.get("concentration")
    if not isinstance(concentration, int | float) or concentration <= 0:
        return "concentration must be above 0"
    zero = entry.get("no_influence", 0)
    return "" if isinstance(zero, int | float) and 0 <= zero <= 1 else "no_influence must be from 0 to 1"
