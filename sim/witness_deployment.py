"""Witness deployment: what the chains of the witness run start with.

Rule decided here: the contracts get the scenario's own vesting calendars, governance rules and governed parameters.
What the contracts cannot follow (two buckets of one role, governance rules that change by date) is refused.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING

from models.errors import InputError, Problem
from sim.chain.bridge import BridgeTimes
from sim.chain.deployment import BucketSpec, DeploymentSpec, GovernanceSpec
from sim.scenario.governed import GOVERNED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.vesting import Schedule
    from sim.economy import Economy

BENEFICIARIES = {
    "community": "pool.community.l1", "ecosystem": "pool.ecosystem.l1", "liquidity": "market_maker",
    "investors": "wallet.l1/investors/*", "team": "wallet.l1/team/*",
}  # fmt: skip

DEPOSIT_S = 12 * 3600
"""Credit of a deposit on L2: by the ledger's rule not on its own day, however late governance acts, but the next."""


def deployment_spec(economy: Economy) -> DeploymentSpec:
    """Return what the scenario deploys: buckets, governance and governed parameters at genesis.

    Raises
    ------
    InputError
        If two buckets share a role, or a rule of governance changes by date.
    """
    scenario = economy.scenario
    _refuse_dated_governance(economy)
    by_role: dict[str, Schedule] = {}
    for name, schedule in economy.schedules.items():
        role = economy.roles[name]
        if role in by_role:
            place = str(scenario.token.buckets[name].share.place)
            message = (
                f"shares the role {role} with another bucket; the chain has one vesting contract per role"
            )
            raise InputError([Problem(f"{message}, so run with --chain off", f"token.buckets.{name}", place)])
        by_role[role] = schedule
    rules = {path: _genesis_value(economy, path) for path in GOVERNED}
    unit = 10 ** (18 - scenario.token.ledger_decimals)
    return DeploymentSpec(
        tge_timestamp=midnight(scenario.tge),
        buckets=tuple(
            BucketSpec.of_schedule(role, schedule, BENEFICIARIES[role], unit)
            for role, schedule in by_role.items()
        ),
        governance=GovernanceSpec(
            threshold_wei=rules["governance.threshold"][0] * unit,
            delay_s=rules["governance.delay"][0],
            period_s=rules["governance.period"][0],
            quorum_numerator=rules["governance.quorum"][0],
            quorum_denominator=10_000,
            timelock_s=rules["governance.timelock"][0],
        ),
        parameters=rules,
        unit_wei=unit,
        token_symbol=scenario.token.symbol,
        stakers_pot="staking_rewards",
        announced=tuple(_announced(economy)),
    )


def _refuse_dated_governance(economy: Economy) -> None:
    """Refuse dates on which the governor's own rules would change without a vote."""
    first, last = economy.scenario.start, economy.date_of(economy.days)
    problems = []
    for path in GOVERNED:
        parameter = economy.scenario.parameter(path)
        later = [day for day, _ in parameter.values[1:] if first < day <= last]
        if path.startswith("governance.") and later:
            message = (
                f"changes on {', '.join(map(str, later))}, but on chain only a vote changes the governor; "
                "use a proposal, or run with --chain off"
            )
            problems.append(Problem(message, path, str(parameter.place)))
    if problems:
        raise InputError(problems)


def _genesis_value(economy: Economy, path: str) -> tuple[int, ...]:
    """Return a governed parameter at genesis; one that begins later is deployed with its first value."""
    parameter = economy.scenario.parameter(path)
    value = parameter.on(economy.scenario.start)
    return GOVERNED[path].encode(parameter.values[0][1] if value is None else value)


def _announced(economy: Economy) -> Iterator[tuple[str, int, tuple[int, ...]]]:
    """Yield the scenario's dated changes of governed parameters, each from the last second of the day before.

    What a vote changes binds from the next day; so does what is written here, for readers of either kind.
    """
    for path in GOVERNED:
        for day, value in economy.scenario.parameter(path).values[1:]:
            if day > economy.scenario.start:
                yield path, midnight(day) - 1, GOVERNED[path].encode(value)


def bridge_times(economy: Economy) -> BridgeTimes:
    """Return the bridge's delays in seconds."""
    bridge = economy.scenario.bridge
    return BridgeTimes(
        deposit_s=DEPOSIT_S,
        output_every_s=bridge.output_every.value.seconds,
        window_s=bridge.window.value.seconds,
    )


def midnight(day: date) -> int:
    """Return the unix second at which a day begins (UTC)."""
    return int(datetime.combine(day, time(), UTC).timestamp())
