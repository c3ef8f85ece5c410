"""Result of one batch of runs: what the engine hands to the run store.

Rule decided here: which tables a batch yields and which columns each must have. Rows are in long form, one
entry of every column per row; a table may carry further columns. A null number is NaN, money is int64 gwei,
wei are Python integers (they need more than 64 bits).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.observables import OBSERVABLES

Columns = dict[str, Any]
"""Column name -> sequence of values (array or list), all of one length."""

TABLES: Mapping[str, Mapping[str, str]] = {
    "groups": {
        "run": "int", "day": "int", "class": "text", "decile": "int", "agents": "int",
        "holding_gwei": "int", "income_gwei": "int",
    },
    "accounts": {"run": "int", "day": "int", "account": "text", "chain": "text", "amount_gwei": "int"},
    "events": {"run": "int", "day": "int", "kind": "text", "subject": "text", "detail": "text"},
    "chain": {
        "run": "int", "epoch": "int", "date": "date", "account": "text", "chain": "text",
        "ledger_gwei": "int", "chain_wei": "wei", "diff_wei": "wei", "gas_used": "int", "transactions": "int",
    },
    "flows": {
        "run": "int", "day": "int", "flow": "text", "source": "text", "target": "text", "amount_gwei": "int",
    },
    "usd": {"run": "int", "month": "int", "class": "text", "purpose": "text", "micro_usd": "int"},
}  # fmt: skip
"""Table -> its columns and their kinds: int (int64), float, text, date (`datetime.date` or ISO text) or wei.

groups: last day of each month; decile 1 .. 10 by baseline holding within the class, 0 for the whole class;
``income_gwei`` is what the group was paid during the month (payouts, rewards, grants, emission, unlocks).
accounts: last day of each month, witness run alone; label as in the journal (``wallet.l1/holders``), chain
``l1``, ``l2`` or ``escrow``. events: `detail` is a JSON object. chain: one row per reconciled account and
epoch; `diff_wei` is chain less ledger. flows: monthly totals of the witness run, dated by the month's last
day. usd: `month` counts from 0, amounts are of that month.
"""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """Everything that a batch of runs recorded.

    Parameters
    ----------
    runs
        Run numbers, int64 (runs,).
    metrics
        Observable -> (runs, days + 1): int64 for names ending in ``_gwei``, else float64 with NaN for null.
    groups, accounts, events, chain, flows, usd
        Columns as `TABLES` lists them.
    residual_gwei
        Largest absolute conservation residual of any run and day.
    chain_summary
        What the witness run executed, or None where the batch holds no chain: ``executed``, ``witness_run``,
        ``transactions``, ``reconciled_epochs``, ``max_abs_diff_wei``.
    """

    runs: NDArray[np.int64]
    metrics: dict[str, NDArray[Any]]
    groups: Columns
    accounts: Columns
    events: Columns
    chain: Columns
    flows: Columns
    usd: Columns
    residual_gwei: int
    chain_summary: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        expected = {observable.name for observable in OBSERVABLES}
        if set(self.metrics) != expected:
            raise ValueError(f"metrics differ from the observables: {sorted(set(self.metrics) ^ expected)}")
        for name, values in self.metrics.items():
            wanted = np.int64 if name.endswith("_gwei") else np.float64
            if values.ndim != 2 or len(values) != len(self.runs) or values.dtype != wanted:
                raise ValueError(
                    f"metric '{name}' is {values.dtype} {values.shape}, not {wanted.__name__} (runs, days)"
                )
        for table, columns in TABLES.items():
            _check(table, getattr(self, table), columns)

    def table(self, name: str) -> Columns:
        """Return a table by its name, a key of `TABLES`."""
        columns: Columns = getattr(self, name)
        return columns


def merged(parts: Sequence[BatchResult], positions: NDArray[np.int64]) -> BatchResult:
    """Return the results of parts of a batch as one.

    Parameters
    ----------
    parts
        Results, of which at most one executed a chain.
    positions
        Position in the batch of every run, in the order of the parts, int64 (runs,).
    """
    order = np.argsort(positions)
    metrics = {
        name: np.concatenate([part.metrics[name] for part in parts])[order] for name in parts[0].metrics
    }
    tables = {
        table: {
            column: [value for part in parts for value in part.table(table).get(column, [])]
            for column in dict.fromkeys(name for part in parts for name in part.table(table))
        }
        for table in TABLES
    }
    return BatchResult(
        runs=np.concatenate([part.runs for part in parts])[order],
        metrics=metrics,
        residual_gwei=max(part.residual_gwei for part in parts),
        chain_summary=next((part.chain_summary for part in parts if part.chain_summary), None),
        **tables,
    )


def _check(table: str, given: Columns, columns: Mapping[str, str]) -> None:
    missing = [column for column in columns if column not in given]
    if given and missing:
        raise ValueError(f"table '{table}' lacks column {', '.join(missing)}")
    lengths = {name: len(values) for name, values in given.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns of table '{table}' differ in length: {lengths}")
