"""Tables: the long-form rows that a batch yields beside its metrics.

Rule decided here: groups are cut by BASELINE status (class, and decile of the balance on day 0), so that two runs
always speak of the same accounts; money and USD are totals of a settlement epoch. A row tells of its own run alone:
what moved only in other runs of the batch leaves none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.accounts import AGENT_ACCOUNTS, AGENT_CLASSES, WORLD_ACCOUNTS
from sim.estates import DECILES, deciles_of, sizes
from sim.kernels import people as kernel

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.estates import Estates
    from sim.world import World

Int = NDArray[np.int64]
Rows = dict[str, list[object]]


def accumulate(world: World) -> None:
    """Add today's flows of the witness run and today's USD of all runs to the epoch's totals."""
    record, row = world.record, world.journal.witness_row
    if row is not None:
        for key, amount in world.journal.today.items():
            record.month_flows[key] = record.month_flows.get(key, 0) + int(amount[row])
    for usd_key, micro_usd in world.usd.today.items():
        known = record.month_usd.get(usd_key)
        record.month_usd[usd_key] = micro_usd.copy() if known is None else known + micro_usd


def close_epoch(world: World, economy: Economy, estates: Estates) -> None:
    """Append the epoch's rows and begin new totals.

    Parameters
    ----------
    world, economy
        The world on the last day of an epoch.
    estates
        What agents own.
    """
    _groups(world, estates)
    _usd(world, economy)
    if world.journal.witness_row is not None:
        _accounts(world)
        _flows(world)
    world.record.month_flows = {}
    world.record.month_usd = {}


def _groups(world: World, estates: Estates) -> None:
    rows, income_by = world.record.groups, np.empty_like(estates.by_class)
    kernel.by_class(world.income, world.layout.starts, income_by)
    for i, name in enumerate(AGENT_CLASSES):
        agents = world.layout.count(name)
        _group(rows, world, name, 0, agents, estates.by_class[:, i], income_by[:, i])
        if name == "holders" and agents >= DECILES:
            _deciles(world, estates)


def _deciles(world: World, estates: Estates) -> None:
    """Append the rows of holders by the decile of what they held on day 0."""
    columns, income = world.layout.slice("holders"), np.empty_like(estates.by_decile)
    kernel.by_group(world.income[:, columns], deciles_of(world), income)
    for k, size in enumerate(sizes(world.layout.count("holders")).tolist()):
        _group(world.record.groups, world, "holders", k + 1, size, estates.by_decile[:, k], income[:, k])


def _group(rows: Rows, world: World, name: str, decile: int, agents: int, held: Int, income: Int) -> None:
    count = world.count
    columns = {
        "run": world.runs.tolist(), "day": [world.day] * count, "class": [name] * count, "decile": [decile] * count,
        "agents": [agents] * count, "holding_gwei": held.tolist(), "income_gwei": income.tolist(),
    }  # fmt: skip
    _extend(rows, columns)


def _usd(world: World, economy: Economy) -> None:
    month = int(economy.month_of_day[world.day]) - 1  # an epoch ends on the first day of the next month
    for (name, purpose), micro_usd in sorted(world.record.month_usd.items()):
        some = micro_usd != 0
        count = int(some.sum())
        columns = {
            "run": world.runs[some].tolist(), "month": [month] * count, "class": [name] * count,
            "purpose": [purpose] * count, "micro_usd": micro_usd[some].tolist(),
        }  # fmt: skip
        _extend(world.record.usd, columns)


def _accounts(world: World) -> None:
    row = world.journal.witness_row
    run = int(world.runs[row])
    held = [(a.name, a.chain.value, int(world.balances[row, a.index])) for a in WORLD_ACCOUNTS]
    for account in AGENT_ACCOUNTS:
        for name, _ in world.layout.counts:
            amount = int(world.agent_balance(account.name, name)[row].sum())
            held.append((f"{account.name}/{name}", account.chain.value, amount))
    columns: dict[str, Sequence[object]] = {
        "run": [run] * len(held), "day": [world.day] * len(held), "account": [label for label, _, _ in held],
        "chain": [chain for _, chain, _ in held], "amount_gwei": [amount for _, _, amount in held],
    }  # fmt: skip
    _extend(world.record.accounts, columns)


def _flows(world: World) -> None:
    run = int(world.runs[world.journal.witness_row])
    flows = dict(sorted((key, amount) for key, amount in world.record.month_flows.items() if amount))
    columns: dict[str, Sequence[object]] = {
        "run": [run] * len(flows), "day": [world.day] * len(flows), "flow": [flow for flow, _, _ in flows],
        "source": [source for _, source, _ in flows], "target": [target for _, _, target in flows],
        "amount_gwei": list(flows.values()),
    }  # fmt: skip
    _extend(world.record.flows, columns)


def _extend(rows: Rows, columns: Mapping[str, Sequence[object]]) -> None:
    for name, values in columns.items():
        rows.setdefault(name, []).extend(values)
