"""Engine: from a scenario to the results of a batch of runs.

Rule decided here: what is computed once per scenario (the economy) and how a batch of runs becomes a result. How
many agents are simulated sets the resolution, never the size of the economy: amounts come from the scenario and are
divided among however many agents there are.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.apportion import apportion_reference
from models.calendar import add_months, month_index, month_position
from models.errors import InputError, Problem
from models.vesting import Schedule, vested_on, vested_path
from sim import gas
from sim.accounts import AGENT_CLASSES, BUCKET_ROLES
from sim.batch import TABLES, BatchResult, merged
from sim.begin import begin_world
from sim.clock import Hooks, run_days
from sim.economy import Economy
from sim.fleet import fleet_of
from sim.participation import taking_part
from sim.priors import worlds_of
from sim.scenario.opening import read_opening
from sim.schedules import schedules_of
from sim.world import Layout, World

if TYPE_CHECKING:
    from sim.scenario.schema import Scenario
    from sim.witness import Witness

Int = NDArray[np.int64]
GWEI_DECIMALS = 9
FAR = 10**6
"""Days to an event that never comes."""


def build_economy(scenario: Scenario, agents: int | None = None, days: int | None = None) -> Economy:
    """Return the static data of a scenario.

    Parameters
    ----------
    scenario
        The scenario as loaded.
    agents
        Size of the population instead of the scenario's, divided among classes in the scenario's proportions.
    days
        Last day instead of the scenario's.

    Raises
    ------
    InputError
        If a bucket has no role in the simulation, or the population is too small for the classes or for the
        proposal's proposer.
    """
    last = scenario.days if days is None else days
    counts = population(scenario, agents)
    _refuse_unknown(scenario, counts)
    schedules = schedules_of(scenario.token, scenario.start)
    roles = {name: str(bucket.role) for name, bucket in scenario.token.buckets.items()}
    vested = {role: np.zeros(last + 1, np.int64) for role in BUCKET_ROLES}
    before, unvested = dict.fromkeys(BUCKET_ROLES, 0), dict.fromkeys(BUCKET_ROLES, 0)
    eve = scenario.start - timedelta(days=1)
    for name, schedule in schedules.items():
        path = vested_path(schedule, scenario.start, last)
        vested[roles[name]] += path
        before[roles[name]] += vested_on(schedule, eve)
        unvested[roles[name]] += schedule.allocation - int(path[-1])
    month, in_month, epoch_end = _calendar(scenario, last)
    return Economy(
        scenario=scenario, layout=Layout.of(counts), days=last, schedules=schedules, roles=roles,
        vested=vested, vested_before=before, unvested_after=unvested, month_of_day=month, day_of_month=in_month,
        epoch_end=epoch_end, days_to_cliff=_days_to_cliff(scenario, schedules, roles, last), fleet=fleet_of(scenario),
        gas_fees=gas.fees_of(scenario), taking_part=taking_part(scenario, counts),
        opening=read_opening(scenario.initial, scenario.token, scenario.start) if scenario.initial else None,
    )  # fmt: skip


def population(scenario: Scenario, agents: int | None) -> dict[str, int]:
    """Return how many agents of each class are simulated.

    Parameters
    ----------
    scenario
        Gives the counts, and the proportions where `agents` is another number.
    agents
        Number of agents, or None for the scenario's counts; every class keeps at least one.

    Raises
    ------
    InputError
        If there are fewer agents than classes.
    """
    counts = {name: int(getattr(scenario.agents, name).count) for name in AGENT_CLASSES}
    if agents is None or agents == sum(counts.values()):
        return counts
    if agents < len(counts):
        raise InputError(f"--agents {agents} is less than one agent for each of the {len(counts)} classes")
    rest = apportion_reference(agents - len(counts), list(counts.values()))
    return {name: 1 + part for name, part in zip(counts, rest, strict=True)}


def _refuse_unknown(scenario: Scenario, counts: dict[str, int]) -> None:
    problems = [
        Problem(
            f"has no role in the simulation; set role to one of {', '.join(BUCKET_ROLES)}",
            f"token.buckets.{name}",
            str(bucket.share.place),
        )
        for name, bucket in scenario.token.buckets.items()
        if bucket.role not in BUCKET_ROLES
    ]
    proposer = scenario.proposal.proposer if scenario.proposal else None
    if proposer is not None and proposer.rank > counts[proposer.class_]:
        problems.append(
            Problem(
                f"{proposer.rank} is over the {counts[proposer.class_]} {proposer.class_} that are simulated; "
                "use more --agents or a lower rank",
                "proposal.proposer.rank",
            )
        )
    if scenario.token.ledger_decimals != GWEI_DECIMALS:
        message = (
            f"is {scenario.token.ledger_decimals}, but a run keeps its ledger in gwei, {GWEI_DECIMALS} decimals; "
            "for other units there is the unlock calendar alone"
        )
        problems.append(Problem(message, "token.ledger_decimals"))
    if problems:
        raise InputError(problems)


def _calendar(scenario: Scenario, last: int) -> tuple[Int, Int, NDArray[np.bool_]]:
    """Return month and day within it per day, and on which days a settlement epoch ends.

    Epoch m ends on the day m months after the start, which is the day of the m-th monthly unlock.
    """
    month = np.empty(last + 1, np.int64)
    in_month = np.empty(last + 1, np.int64)
    for day in range(last + 1):
        today = scenario.start.fromordinal(scenario.start.toordinal() + day)
        month[day] = month_index(scenario.start, today)
        in_month[day] = month_position(scenario.start, today)[0]
    ends = np.zeros(last + 1, np.bool_)
    for m in range(1, int(month[-1]) + 2):
        day = add_months(scenario.start, m).toordinal() - scenario.start.toordinal()
        if day <= last:
            ends[day] = True
    return month, in_month, ends


def _days_to_cliff(
    scenario: Scenario, schedules: dict[str, Schedule], roles: dict[str, str], last: int
) -> Int:
    """Return days to the next insider instalment larger than the one before it."""
    horizon = last + 366
    past = (scenario.start - scenario.tge).days
    path = np.zeros(past + horizon + 1, np.int64)
    for name, schedule in schedules.items():
        if roles[name] in ("investors", "team"):
            path += vested_path(schedule, scenario.tge, past + horizon)
    paid = np.diff(path, prepend=0)
    days = np.flatnonzero(paid)
    rising = [
        int(d) - past
        for d, before in zip(days, [0, *paid[days[:-1]].tolist()], strict=False)
        if paid[d] > before * 1.01
    ]
    out = np.full(last + 1, FAR, np.int64)
    for day in rising:
        ahead = day - np.arange(last + 1)
        out = np.where((ahead >= 0) & (ahead < out), ahead, out)
    return out


def run_batch(
    economy: Economy,
    runs: Int,
    *,
    witness: int | None = None,
    chain: Witness | None = None,
    on_day: Callable[[int], None] | None = None,
) -> BatchResult:
    """Simulate a batch of runs.

    Parameters
    ----------
    economy
        Static data.
    runs
        Run numbers, int64 (runs,).
    witness
        Run whose journal, accounts and flows are kept, or None.
    chain
        The chains on which the witness run is executed, or None.
    on_day
        Called with each day that ended; where runs live one after the other, with the day that the whole has reached.

    Returns
    -------
    BatchResult
        Everything recorded.

    Raises
    ------
    sim.identities.IdentityBroken, sim.chain.witness.ReconciliationError
        If money is out of place.
    """
    runs = np.asarray(runs, np.int64)
    worlds = worlds_of(economy, runs)
    results = []
    for index, (drawn, positions) in enumerate(worlds):
        members = runs[positions]
        here = chain if witness in members else None
        world = begin_world(drawn, members, witness if witness in members else None)
        services = here.begin(world, drawn) if here is not None else None
        run_days(world, drawn, services, Hooks(_shared(on_day, index, len(worlds), drawn.days)))
        results.append(result_of(world, here))
    return results[0] if len(results) == 1 else merged(results, np.concatenate([p for _, p in worlds]))


def _shared(
    on_day: Callable[[int], None] | None, index: int, parts: int, days: int
) -> Callable[[int], None] | None:
    """Return the progress of one of `parts` that live one after the other, as days of the whole."""
    if on_day is None or parts == 1:
        return on_day
    return lambda day: on_day((index * (days + 1) + day + 1) // parts - 1)


def result_of(world: World, chain: Witness | None = None) -> BatchResult:
    """Return what a world recorded as a batch result."""
    record = world.record
    residual = record.columns["conservation_residual_gwei"]
    tables = {
        "groups": record.groups, "accounts": record.accounts, "flows": record.flows, "usd": record.usd,
        "events": _events(world), "chain": chain.rows() if chain is not None else {},
    }  # fmt: skip
    return BatchResult(
        runs=world.runs,
        metrics=record.columns,
        residual_gwei=int(np.abs(residual).max()),
        chain_summary=chain.summary() if chain is not None else None,
        **{name: {column: rows.get(column, []) for column in TABLES[name]} for name, rows in tables.items()},
    )


def _events(world: World) -> dict[str, list[Any]]:
    events = sorted(world.governance.events, key=lambda event: (event.run, event.day))
    return {
        "run": [event.run for event in events],
        "day": [event.day for event in events],
        "kind": [event.kind for event in events],
        "subject": [event.subject for event in events],
        "detail": [event.detail for event in events],
    }
