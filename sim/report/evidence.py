"""Evidence: which class a published number has.

Rule decided here: a number is as good as its weakest input. For each observable this table names the parts of
the scenario that it depends on; what is not listed depends on everything, because behaviour moves it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from models.parameters import CLASSES
from sim.results.reader import ParameterRow

EVERYTHING = ("",)
_TOKEN = ("token",)
_SERVING = ("serving", "demand", "agents.users", "agents.operators")
INPUTS: Mapping[str, tuple[str, ...]] = {
    "locked_gwei": _TOKEN,
    "unlocked_gwei": _TOKEN,
    "unlock_flow_gwei": _TOKEN,
    "circulating_tracker_gwei": (*_TOKEN, "fees.burn", "market.buyback"),
    "serving_cost_usd_per_1m": _SERVING,
    "latency_p50_s": _SERVING,
    "latency_p95_s": _SERVING,
    "ttft_p95_s": _SERVING,
    "cache_hit_rate": _SERVING,
    "utilisation": _SERVING,
    "fee_usd_per_1m": ("fees", "demand", "agents.users"),
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
    found = [row.evidence for row in parameters if any(_below(row.path, prefix) for prefix in prefixes)]
    return max(found, key=CLASSES.index, default=CLASSES[-1])


def evidence_of(parameters: Iterable[ParameterRow], columns: Iterable[str]) -> str:
    """Return the weakest class among the inputs of some observables."""
    prefixes = [prefix for column in columns for prefix in INPUTS.get(column, EVERYTHING)]
    return weakest(parameters, prefixes)


def _below(path: str, prefix: str) -> bool:
    return not prefix or path == prefix or path.startswith(f"{prefix}.")
