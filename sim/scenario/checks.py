"""Rules that join several sections of a scenario.

Rule decided here: what must fit together before a run starts. Each check needs some sections and is left
out while one of them is itself wrong, so that one mistake is reported once and all others still are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import InputError, Problem
from models.market import pool_from_depth
from models.parameters import Parameter
from models.units import MICRO_USD_PER_USD
from sim.scenario.buckets import ROLES
from sim.scenario.governed import GOVERNED
from sim.scenario.influence import influence_problem
from sim.scenario.opening import read_opening
from sim.scenario.problems import place_of
from sim.scenario.proposal import AGENT_CLASSES
from sim.scenario.tree import Map, Scalar
from sim.scenario.words import did_you_mean
from sim.schedules import schedule_of, schedules_of

if TYPE_CHECKING:
    from sim.scenario.schema import Scenario


@dataclass(frozen=True, slots=True)
class Parts:
    """The sections that are valid on their own.

    Parameters
    ----------
    tree
        The merged tree, for places.
    sections
        Valid values by top-level key.
    """

    tree: Map
    sections: dict[str, Any]

    def problem(self, message: str, path: str) -> Problem:
        """Return a problem at the node of `path`."""
        loc = tuple(int(key) if key.isdigit() else key for key in path.split("."))
        return Problem(message, path, str(place_of(self.tree, loc)))


Check = Callable[..., Iterator[Problem]]
_CHECKS: list[tuple[tuple[str, ...], Check]] = []


def _needs(*sections: str) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        _CHECKS.append((sections, check))
        return check

    return register


def cross_checks(parts: Parts) -> list[Problem]:
    """Return what does not fit together."""
    problems: list[Problem] = []
    for needed, check in _CHECKS:
        if all(name in parts.sections for name in needed):
            problems += check(parts, *(parts.sections[name] for name in needed))
    return problems


@_needs("token")
def _roles(parts: Parts, token: Any) -> Iterator[Problem]:
    held: dict[str, str] = {}
    for name, bucket in token.buckets.items():
        path = f"token.buckets.{name}"
        if bucket.role is None:
            hint = did_you_mean(name, ROLES)
            yield parts.problem(
                f"has no role, which a run needs{hint}; add 'role:' or use olsim unlocks", path
            )
        elif bucket.role in held:
            yield parts.problem(f"has the role {bucket.role} of bucket {held[bucket.role]}", path)
        else:
            held[bucket.role] = name
    missing = [role for role in ROLES if role not in held]
    if missing and all(bucket.role for bucket in token.buckets.values()):
        yield parts.problem(
            f"no bucket has the role {' or '.join(missing)}, which a run needs", "token.buckets"
        )


@_needs("token", "start")
def _dates(parts: Parts, token: Any, start: date) -> Iterator[Problem]:
    tge = token.tge or start
    if tge < start and "initial" not in parts.tree:
        yield parts.problem(
            f"start {start} is after the TGE {tge}; say what exists by then with 'initial: FILE'", "start"
        )
    if tge > start:
        yield parts.problem(
            f"TGE {tge} is after the start {start}; a run starts on the TGE or later", "token.tge"
        )
    if tge == start and "initial" in parts.tree:
        yield parts.problem(
            f"the start {start} is the TGE, before which nothing exists; leave this out", "initial"
        )
    for name, bucket in token.buckets.items():
        if bucket.start is not None and bucket.start < tge:
            path = f"token.buckets.{name}.start"
            yield parts.problem(f"{bucket.start} is before the TGE {tge}", path)
        for day, _ in bucket.rows[:1]:
            if day < (bucket.start or tge):
                yield parts.problem(
                    f"begins on {day}, before the bucket's start", f"token.buckets.{name}.table"
                )


@_needs("token", "start", "initial")
def _opening(parts: Parts, token: Any, start: date, initial: Path | None) -> Iterator[Problem]:
    if initial is None or (token.tge or start) >= start:
        return
    try:
        schedules_of(token, start)
    except InputError:
        return  # said by the check of the calendars
    try:
        read_opening(initial, token, start)
    except InputError as error:
        yield from error.problems


@_needs("token", "emission")
def _community(parts: Parts, token: Any, emission: Any) -> Iterator[Problem]:
    bucket = next((b for b in token.buckets.values() if b.role == "community"), None)
    if bucket is None:
        return
    holders = emission.initial_holders.value
    if holders > bucket.tge_amount:
        most = token.amount(bucket.tge_amount)
        message = f"{token.amount(holders)} is more than the community's {most} at the start"
        yield parts.problem(message, "emission.initial_holders")
    airdrops = sum(amount for _, amount in emission.airdrops.values) if emission.airdrops else 0
    if holders + airdrops > bucket.allocation:
        given = token.amount(holders + airdrops)
        message = f"with the initial holders {given}, more than the community's allocation"
        yield parts.problem(message, "emission.airdrops")


@_needs("token", "market")
def _depth(parts: Parts, token: Any, market: Any) -> Iterator[Problem]:
    bucket = next((b for b in token.buckets.values() if b.role == "liquidity"), None)
    if bucket is None or "initial" in parts.tree:  # an opening table says what the pool holds
        return
    micro_usd = round(market.depth_2pct.value * MICRO_USD_PER_USD)
    units_per_token = 10**token.ledger_decimals
    fee_bps = round(market.fee.value * 10_000)
    pool, _ = pool_from_depth(
        micro_usd, market.open_price.value, fee_bps=fee_bps, units_per_token=units_per_token
    )
    if pool > bucket.tge_amount:
        message = (
            f"needs {token.amount(pool)} in the pool at {market.open_price.value:g} USD, more than the "
            f"{token.amount(bucket.tge_amount)} that the liquidity bucket has at the start"
        )
        yield parts.problem(message, "market.depth_2pct")


@_needs("token", "start")
def _calendars(parts: Parts, token: Any, start: date) -> Iterator[Problem]:
    for name, bucket in token.buckets.items():
        try:
            schedule_of(name, bucket, token.tge or start)
        except InputError as error:
            for problem in error.problems:
                yield parts.problem(problem.message, problem.path)


@_needs("fees", "operator_pay")
def _pay_currency(parts: Parts, fees: Any, pay: Any) -> Iterator[Problem]:
    if pay.rate.unit.startswith("USD") != (fees.quoted_in == "USD"):
        yield parts.problem(
            f"unit '{pay.rate.unit}' does not go with quoted_in: {fees.quoted_in}", "operator_pay.rate"
        )


@_needs("staking")
def _locks(parts: Parts, staking: Any) -> Iterator[Problem]:
    flexible, long = staking.locks.flexible, staking.locks.long
    if flexible.value > long.value:
        message = f"{flexible.value} is longer than the long lock {long.value}"
        yield parts.problem(message, "staking.locks.flexible")


@_needs("runs", "chain")
def _witness(parts: Parts, runs: Any, chain: Any) -> Iterator[Problem]:
    if chain.witness_run >= runs.count:
        message = f"{chain.witness_run} is not among the {runs.count} runs; allowed 0 to {runs.count - 1}"
        yield parts.problem(message, "chain.witness_run")


@_needs("runs")
def _bands(parts: Parts, runs: Any) -> Iterator[Problem]:
    if list(runs.bands) != sorted(runs.bands) or not runs.bands:
        yield parts.problem("percentiles must rise, and there must be at least one", "runs.bands")


@_needs("attribution", "demand")
def _influence(parts: Parts, attribution: Any, demand: Any) -> Iterator[Problem]:
    wrong = influence_problem(attribution.influence, ())
    if wrong:
        yield parts.problem(wrong, "attribution.influence")
        return
    wrong = influence_problem(attribution.influence, demand.popularity.query_classes)
    if wrong:
        yield parts.problem(wrong, "demand.popularity.query_classes")


@_needs("serving")
def _profiles(parts: Parts, serving: Any) -> Iterator[Problem]:
    for index, part in enumerate(serving.fleet):
        wrong = _json_problem(part.profile)
        if wrong:
            yield parts.problem(wrong, f"serving.fleet.{index}.profile")


def _json_problem(path: Path) -> str:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        return f"{path.name} is not JSON: {error}"
    measured = data.get("provenance", {}).get("measured") if isinstance(data, dict) else None
    return (
        "" if isinstance(measured, bool) else f"{path.name} does not say provenance.measured: true or false"
    )


@_needs("proposal", "start", "days")
def _proposal_dates(parts: Parts, proposal: Any, start: date, days: int) -> Iterator[Problem]:
    last = start + timedelta(days=days)
    if proposal is not None and not start <= proposal.submit <= last:
        yield parts.problem(
            f"{proposal.submit} is outside the run; allowed {start} to {last}", "proposal.submit"
        )


@_needs("proposal")
def _proposal_votes(parts: Parts, proposal: Any) -> Iterator[Problem]:
    for key in ("stated", "payoffs"):
        for name in getattr(proposal.votes, key) if proposal is not None else ():
            if name not in AGENT_CLASSES:
                hint = did_you_mean(name, AGENT_CLASSES)
                yield parts.problem(f"'{name}' is no class of agents{hint}", f"proposal.votes.{key}.{name}")
    seen: set[str] = set()
    for index, action in enumerate(proposal.actions if proposal is not None else ()):
        if action.path in seen:
            yield parts.problem(f"{action.path} is set twice", f"proposal.actions.{index}.set")
        seen.add(action.path)


@_needs("proposal", "agents")
def _proposer(parts: Parts, proposal: Any, agents: Any) -> Iterator[Problem]:
    if proposal is None:
        return
    count = getattr(agents, proposal.proposer.class_).count
    if proposal.proposer.rank > count:
        message = f"{proposal.proposer.rank} is over the {count} {proposal.proposer.class_} simulated"
        yield parts.problem(message, "proposal.proposer.rank")


def parameter_checks(parts: Parts, parameters: dict[str, Parameter[Any]]) -> list[Problem]:
    """Check governed values and those that a report or a proposal names.

    Parameters
    ----------
    parts
        The valid sections.
    parameters
        Every parameter of them by its path.

    Returns
    -------
    list of Problem
        Values that a vote could not have set, actions outside their range, unknown paths.
    """
    problems: list[Problem] = []
    for path, governed in GOVERNED.items():
        for _, value in parameters[path].values if path in parameters else ():
            try:
                governed.encode(value)
            except ValueError as error:
                problems.append(Problem(str(error), path, str(parameters[path].place)))
    problems += [
        Problem("takes no prior: the token and its calendar must be certain", f"{path}.prior", str(p.place))
        for path, p in parameters.items()
        if p.prior is not None and path.startswith("token.")
    ]
    report = parts.sections.get("report")
    for index, path in enumerate(report.flip if report is not None else ()):
        if path not in parameters:
            hint = did_you_mean(path, parameters)
            problems.append(parts.problem(f"'{path}' is no parameter{hint}", f"report.flip.{index}"))
    problems += _sweep_paths(parts, parameters)
    return problems + list(_action_ranges(parts, parameters))


def _sweep_paths(parts: Parts, parameters: dict[str, Parameter[Any]]) -> Iterator[Problem]:
    """Say which axes of a sweep are no value of the scenario, or have no prior although they name it."""
    sweep = parts.sections.get("sweep")
    for axis in sweep.over if sweep is not None else ():
        path = axis.path.partition(".at.")[0]
        place = str(axis.place)
        if path not in parameters and not is_value(parts.tree, path):
            hint = did_you_mean(path, parameters)
            yield Problem(f"'{path}' is no value of this scenario{hint}", "sweep.over", place)
        elif axis.by_prior and (path not in parameters or parameters[path].prior is None):
            yield Problem(f"'{path}' has no prior; say from and to", "sweep.over", place)


def is_value(tree: Map, path: str) -> bool:
    """Whether a plain value stands at `path` of a tree."""
    node: Any = tree
    for key in path.split("."):
        if isinstance(node, Map) and key in node:
            node = node[key]
        elif isinstance(node, list) and key.isdigit() and int(key) < len(node):
            node = node[int(key)]
        else:
            return False
    return isinstance(node, Scalar)


def drawn_checks(parts: Parts, scenario: Scenario) -> list[Problem]:
    """Check what every run draws of the parameters that must fit together with others.

    Parameters
    ----------
    parts
        The valid sections.
    scenario
        The scenario, valid with its central values.

    Returns
    -------
    list of Problem
        Those of the first run that has any.
    """
    from sim.priors import JOINED, draw_values, drawn_scenario, uncertain

    joined = JOINED & set(uncertain(scenario))
    if not joined:
        return []
    runs = range(scenario.runs.count)
    drawn = {path: values for path, values in draw_values(scenario, runs).items() if path in joined}
    for run in runs:
        world = drawn_scenario(scenario, {path: values[run] for path, values in drawn.items()})
        sections = {name: getattr(world, name) for name in ("token", "emission", "market", "staking")}
        problems = cross_checks(Parts(parts.tree, sections))
        if problems:
            return [replace(problem, message=f"run {run}: {problem.message}") for problem in problems]
    return []


def _action_ranges(parts: Parts, parameters: dict[str, Parameter[Any]]) -> Iterator[Problem]:
    proposal = parts.sections.get("proposal")
    for index, action in enumerate(proposal.actions if proposal is not None else ()):
        target = parameters.get(action.path)
        if target is None:
            continue
        if target.range is not None and not _within(action.value, target.range):
            path = f"proposal.actions.{index}.to"
            low, high = (_number(bound) for bound in target.range)
            yield parts.problem(f"is outside the range of {action.path}; allowed {low} to {high}", path)


def _within(value: Any, bounds: tuple[Any, Any]) -> bool:
    return type(value) is not type(bounds[0]) or bool(bounds[0] <= value <= bounds[1])


def _number(value: Any) -> str:
    return f"{float(value * 100):g} %" if isinstance(value, Fraction) else f"{value}"
