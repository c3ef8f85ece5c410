"""Uncertain inputs: which value each run has of every parameter that is a prior.

Rule decided here: a run's value is the quantile function of the prior at one keyed uniform: stream `Decision.PRIOR`,
the run's number, and an index that depends on the parameter's path alone, so that another uncertain input changes
nobody else's draws. A run then lives in the scenario in which its values stand as constants, exactly as if somebody
had written them into the file. Runs with equal values are computed together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from models.parameters import Parameter
from sim.scenario.governed import GOVERNED
from sim.scenario.priors import as_drawn

if TYPE_CHECKING:
    import polars as pl

    from sim.economy import Economy
    from sim.scenario.schema import Scenario

Int = NDArray[np.int64]
Float = NDArray[np.float64]

INFLOW = "market.outside_net_inflow"
"""The input that is no vote's, and of which every run has its own element of a column all the same."""

_INDEX = {INFLOW: 0}
"""Indices that are older than the rule that derives them from the path."""

_SCALAR = frozenset({"grants.monthly", "grants.public_goods", "staking.locks.flexible"})
"""Governed parameters that some formula reads as one number beside its column."""

COLUMNS = frozenset(GOVERNED) - _SCALAR
"""Governed parameters of which every run has its own elements of columns, and nobody reads anything else."""

JOINED = frozenset(
    f"{section}.{name}"
    for section, names in {
        "emission": ("initial_holders", "airdrops"),
        "market": ("open_price", "depth_2pct", "fee"),
        "staking": ("locks.flexible", "locks.long"),
    }.items()
    for name in names
)
"""Parameters that a check joins with others, so that what a run draws of them is checked too."""

_FLEET = ("serving.", "demand.requests", "demand.tokens.", "demand.popularity.")
"""Beginnings of the paths that the fleet model is built from."""


def index_of(path: str) -> int:
    """Return the index, below 2^24, by which a parameter's draws are keyed.

    Examples
    --------
    >>> index_of("market.outside_net_inflow"), index_of("market.volatility")
    (0, 13650462)
    """
    if path in _INDEX:
        return _INDEX[path]
    digest = hashlib.sha256(path.encode()).digest()
    return 1 + int.from_bytes(digest[:8], "big") % (2**24 - 1)


def uncertain(scenario: Scenario) -> dict[str, Parameter[Any]]:
    """Return the parameters that are priors, by path, in the order of the file's sections."""
    return {path: parameter for path, parameter in scenario.parameters() if parameter.prior is not None}


def draw_numbers(seed: int, path: str, parameter: Parameter[Any], runs: Int) -> Float:
    """Return what each run draws of a prior, on the prior's own scale.

    Parameters
    ----------
    seed
        The scenario's seed.
    path, parameter
        The uncertain parameter.
    runs
        Run numbers, int64 (runs,).

    Returns
    -------
    numpy.ndarray
        float64 (runs,).
    """
    from sim import draws  # compiled code, which nobody needs who only reads a scenario
    from sim.draws import Decision

    assert parameter.prior is not None, path
    u = draws.uniform(seed, Decision.PRIOR, runs, 0, "world", 1, first=index_of(path))[:, 0]
    return parameter.prior.quantile(u)


def draw_values(
    scenario: Scenario, runs: Sequence[int] | Int, paths: Collection[str] | None = None
) -> dict[str, list[Any]]:
    """Return what each run draws of every prior, in the types of the parameters.

    Parameters
    ----------
    scenario
        The scenario; its seed keys the draws.
    runs
        Run numbers.
    paths
        Which priors; None for all.

    Returns
    -------
    dict of str to list
        Path -> one value per run; a governed value is a whole number of the steps that a vote can set.
    """
    numbers = np.asarray(runs, np.int64)
    return {
        path: [
            stepped(path, as_drawn(float(number), parameter.value))
            for number in draw_numbers(scenario.runs.seed, path, parameter, numbers)
        ]
        for path, parameter in uncertain(scenario).items()
        if paths is None or path in paths
    }


def governed_draws(economy: Economy, runs: Int) -> dict[str, Int]:
    """Return what each run draws of the uncertain governed parameters, as their columns hold it.

    Returns
    -------
    dict of str to numpy.ndarray
        Path -> int64 (runs, columns of the path).
    """
    drawn = draw_values(economy.scenario, runs, COLUMNS)
    return {
        path: np.array([GOVERNED[path].encode(value) for value in values], np.int64)
        for path, values in drawn.items()
    }


def stepped(path: str, value: Any) -> Any:
    """Return the nearest value that a vote could set, for a governed parameter; any other value as it is."""
    governed = GOVERNED.get(path)
    if governed is None or isinstance(value, int):
        return value
    return governed.decode(tuple(round(number) for number in governed.encoder(value)))


def drawn_scenario(scenario: Scenario, values: Mapping[str, Any]) -> Scenario:
    """Return the scenario in which the parameters of `values` are certain.

    Parameters
    ----------
    scenario
        The scenario.
    values
        Path -> value, from the day on which the parameter begins.
    """
    for path, value in values.items():
        scenario = _replaced(scenario, path.split("."), value)
    return scenario


def _replaced(node: Any, keys: Sequence[str], value: Any) -> Any:
    """Return `node` with the parameter below it at `keys` certain."""
    if not keys:
        assert isinstance(node, Parameter)
        return replace(node, values=((node.values[0][0] if node.is_dated else date.min, value),), prior=None)
    key, rest = keys[0], keys[1:]
    if isinstance(node, tuple):
        index = int(key)
        return (*node[:index], _replaced(node[index], rest, value), *node[index + 1 :])
    assert isinstance(node, BaseModel), key
    fields = type(node).model_fields
    name = key if key in fields else next(name for name, field in fields.items() if field.alias == key)
    return node.model_copy(update={name: _replaced(getattr(node, name), rest, value)})


def drawn_economy(economy: Economy, run: int) -> Economy:
    """Return the economy in which one run lives: every prior a constant, the rest as it was."""
    return _with_values(
        economy, {path: drawn[0] for path, drawn in draw_values(economy.scenario, [run]).items()}
    )


def with_scenario(economy: Economy, scenario: Scenario, changed: Collection[str]) -> Economy:
    """Return the economy of a scenario that differs from the economy's own in some parameters.

    Parameters
    ----------
    economy
        Calendars and population stay, so no part of the token and no count of agents may differ.
    scenario
        The changed scenario.
    changed
        Paths that differ; the fleet model is built again where one of them goes into it.
    """
    if not changed:
        return economy
    from sim import gas
    from sim.fleet import fleet_of

    fleet = fleet_of(scenario) if any(path.startswith(_FLEET) for path in changed) else economy.fleet
    return replace(economy, scenario=scenario, fleet=fleet, gas_fees=gas.fees_of(scenario))


def worlds_of(economy: Economy, runs: Int) -> list[tuple[Economy, Int]]:
    """Return the economies in which the runs of a batch live, each with positions of its runs in the batch.

    Parameters
    ----------
    economy
        The economy, priors and all; `INFLOW` and what is in `COLUMNS` stay priors, because there are columns for them.
    runs
        Run numbers, int64 (runs,).

    Returns
    -------
    list of (Economy, numpy.ndarray)
        One entry where nothing else is uncertain.
    """
    known = {path for path in uncertain(economy.scenario) if path != INFLOW and path not in COLUMNS}
    values = draw_values(economy.scenario, runs, known) if known else {}
    groups: dict[tuple[Any, ...], list[int]] = {}
    for position in range(len(runs)):
        groups.setdefault(tuple(drawn[position] for drawn in values.values()), []).append(position)
    return [
        (_with_values(economy, dict(zip(values, key, strict=True))), np.array(positions, np.int64))
        for key, positions in groups.items()
    ]


def _with_values(economy: Economy, values: Mapping[str, Any]) -> Economy:
    return with_scenario(economy, drawn_scenario(economy.scenario, values), values)


def drawn_frame(scenario: Scenario, runs: Iterable[int]) -> pl.DataFrame:
    """Return what every run drew: path, run, value, unit and the value as a file would say it.

    Parameters
    ----------
    scenario
        The scenario.
    runs
        Run numbers.

    Returns
    -------
    polars.DataFrame
        One row per prior and run; `value` is in `unit`, as in the text.
    """
    import polars as pl

    from models.units import parse_quantity
    from sim.scenario.kinds import Token
    from sim.scenario.targets import leaf_at

    numbers = list(runs)
    token = Token(scenario.token.symbol, scenario.token.ledger_decimals)
    known = uncertain(scenario)
    rows = []
    for path, values in draw_values(scenario, numbers).items():
        kind, unit = leaf_at(type(scenario), path).kind, known[path].unit
        texts = [str(kind.write(value, unit, token)) for value in values]
        rows += [(path, run, text) for run, text in zip(numbers, texts, strict=True)]
    quantities = [parse_quantity(text) for _, _, text in rows]
    return pl.DataFrame(
        {
            "path": [path for path, _, _ in rows],
            "run": pl.Series([run for _, run, _ in rows], dtype=pl.Int64),
            "value": pl.Series([float(quantity.number) for quantity in quantities], dtype=pl.Float64),
            "unit": [quantity.unit for quantity in quantities],
            "text": [text for _, _, text in rows],
        },
        schema_overrides={"path": pl.String, "unit": pl.String, "text": pl.String},
    )
