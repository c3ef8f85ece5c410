"""Evidence: which class a published number has.

Rule decided here: a number is as good as its weakest input. For each observable this table names the parts of
the scenario that it depends on; what is not listed depends on everything, because behaviour moves it. A switch
that is off on every date, such as a burn of 0 %, is no input: the number is what it is without the mechanism.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from models.parameters import CLASSES
from sim.results.reader import ParameterRow

EVERYTHING = ("",)
_TOKEN = ("token",)
SWITCHES = ("fees.burn", "market.buyback")
"""Parameters that are no input while they are off."""
_SERVING = ("serving", "demand", "agents.users", "agents.operators")
INPUTS: Mapping[str, tuple[str, ...]] = {
    "locked_gwei": _TOKEN,
    "unlocked_gwei": _TOKEN,
    "unlock_flow_gwei": _TOKEN,
    "total_supply_gwei": (*_TOKEN, *SWITCHES),
    "circulating_tracker_gwei": (*_TOKEN, *SWITCHES),
    "serving_cost_usd_per_1m": _SERVING,
    "latency_p50_s": _SERVING,
    "latency_p95_s": _SERVING,
    "latency_p99_s": _SERVING,
    "ttft_p50_s": _SERVING,
    "ttft_p95_s": _SERVING,
    "ttft_p99_s": _SERVING,
    "cache_hit_rate": _SERVING,
    "utilisation": _SERVING,
    "fee_usd_per_1m": ("fees.input", "fees.output", "demand.tokens"),
    "quorum_bps": ("governance.quorum",),
}
"""Observable -> the sections or parameters that it depends on."""


def weakest(parameters: Iterable[ParameterRow], prefixes: Sequence[str] = EVERYTHING) -> str:
    """Return the weakest class among the parameters below some paths.

    Parameters
    ----------
    parameters
        The scenario's parameters.
    prefixes
        Dotted paths; "" stands for everything.

    Returns
    -------
    str
        measured, documented, estimated or illustrative; illustrative where nothing is known.

    Examples
    --------
    >>> rows = [ParameterRow("token.cap", "1", "documented"), ParameterRow("market.fee", "1", "estimated")]
    >>> weakest(rows, ["token"]), weakest(rows)
    ('documented', 'estimated')
    """
    found = [
        row.evidence
        for row in parameters
        if any(_below(row.path, prefix) for prefix in prefixes) and not _is_off(row)
    ]
    return max(found, key=CLASSES.index, default=CLASSES[-1])


def evidence_of(parameters: Iterable[ParameterRow], columns: Iterable[str]) -> str:
    """Return the weakest class among the inputs of some observables."""
    rows = tuple(parameters)
    prefixes = [prefix for column in columns for prefix in _inputs(rows, column)]
    return weakest(rows, prefixes)


def _inputs(parameters: Sequence[ParameterRow], column: str) -> tuple[str, ...]:
    """Return what an observable depends on; fees that are quoted in the token follow the price, so everything."""
    if column == "fee_usd_per_1m" and any(
        "USD" not in row.value for row in parameters if row.path in ("fees.input", "fees.output")
    ):
        return EVERYTHING
    return INPUTS.get(column, EVERYTHING)


def _below(path: str, prefix: str) -> bool:
    return not prefix or path == prefix or path.startswith(f"{prefix}.")


def _is_off(row: ParameterRow) -> bool:
    """Return whether a switch is 0 on every date that the scenario gives."""
    if not any(_below(row.path, switch) for switch in SWITCHES):
        return False
    values = [part.rpartition(": ")[2] for part in row.value.split("; ")]
    return all(re.fullmatch(r"0(\.0+)?( .*)?", value) for value in values)
