"""A small world of governance made by hand: holders who vote themselves, and delegates."""

from __future__ import annotations

import json
from datetime import date
from fractions import Fraction
from types import SimpleNamespace

import numpy as np

from models.parameters import Parameter
from models.turnout import SELF
from sim.governed_columns import GovernedColumns
from sim.journal import Journal
from sim.phases import governance
from sim.states.governance import Delegations, Event, begin_state
from sim.world import Layout, UsdLog, World, empty_accounts

OPEN = 10**9
DAY = 86_400
COUNTS = {"holders": 4, "contributors": 2, "delegates": 2}
RULES = {"delay": DAY, "period": 7 * DAY, "timelock": 7 * DAY, "quorum": 500, "threshold": 10_000 * OPEN}
OLD, NEW = (2, 2, 5), (2, 1, 6)
HOLDER, DELEGATE = 0, 6
"""Columns of the first holder and the first delegate."""
constant = Parameter.constant


def section(**values):
    return SimpleNamespace(**{name: constant(value) for name, value in values.items()})


def make_proposal(submit, stated=None, force="none", actions=(("fees.split", NEW),)):
    votes = SimpleNamespace(
        direction=SimpleNamespace(noise=0.5), stated=stated or {"holders": "for", "delegates": "for"},
        force=force, payoffs={},
    )  # fmt: skip
    return SimpleNamespace(
        title="Data first", submit=submit, votes=votes, salience=0.7,
        proposer=SimpleNamespace(class_="delegates", rank=1),
        actions=tuple(SimpleNamespace(path=path, encoded=values) for path, values in actions),
    )  # fmt: skip


def make_economy(proposal=None, per_month=0.0, core=1.0):
    scenario = SimpleNamespace(
        start=date(2025, 9, 8),
        proposal=proposal,
        chain=section(vote_cutoff=10_000 * OPEN),
        agents=SimpleNamespace(delegates=section(attrition=Fraction(12, 100))),
        governance=SimpleNamespace(
            quorum=SimpleNamespace(counts=("for", "abstain")),
            proposals_per_month=constant(per_month),
            turnout=section(core=core, base=-4.0, stake_slope=0.3, habit=1.0, decay=0.12, salience_slope=1.0),
            routine=section(support=0.84, consensus=0.9),
            delegation=section(small=0.08, large=0.41, large_from=0.001, votes_itself=0.3, concentration=1.0),
        ),
    )
    gas_fees = dict.fromkeys(("propose", "vote", "queue", "execute"), 0)
    return SimpleNamespace(scenario=scenario, layout=Layout.of(COUNTS), seed=7, gas_fees=gas_fees)


def make_world(economy, runs=(0, 1), wrapped=None, witness_row=None, rules=None):
    """A world on day 0 in which holders vote themselves and delegates have what is given in OPEN."""
    runs = np.array(runs, np.int64)
    balances, expected, holdings, expected_agent = empty_accounts(len(runs), economy.layout)
    world = World(
        runs=runs, layout=economy.layout, journal=Journal(witness_row=witness_row), usd=UsdLog(),
        balances=balances, expected_world=expected, holdings=holdings, expected_agent=expected_agent,
        earned=np.zeros_like(holdings[0]), dust=np.zeros(len(runs), np.int64),
        price_usd=np.full(len(runs), 0.5),
        governed=GovernedColumns.begin(len(runs)), market=None, bridge=None, usage=None,
        record=None, income=np.zeros_like(holdings[0]),
        holding=SimpleNamespace(
            gopen_supply=np.zeros(len(runs), np.int64), baseline_holding=np.ones((len(runs), 4), np.int64)
        ),
        governance=begin_state(economy, runs),
    )  # fmt: skip
    everyone = np.ones(len(runs), bool)
    world.governed.write("fees.split", OLD, everyone)
    for name, value in (RULES | (rules or {})).items():
        world.governed.write(f"governance.{name}", (value,), everyone)
    for column, amount in (wrapped or {HOLDER: 60_000, DELEGATE: 20_000}).items():
        wrap(world, column, amount)
    return world


def wrap(world, column, amount, row=slice(None)):
    world.agent_balance("wrapped")[row, column] += amount * OPEN
    world.expected_agent[:] = world.holdings.sum(axis=2).T
    world.holding.gopen_supply[row] = world.agent_balance("wrapped").sum(axis=1)[row]


def live(world, economy, days, services=None, each=None):
    """Run days; delegations are set by hand: everybody votes itself and is in the core."""
    for day in days:
        world.day, world.phase = day, "governance"
        governance.bind(world, economy)
        if each:
            each(day)
        governance.advance(world, economy, services)
        if day == 0:
            delegate(world, {})
            world.governance.core[:] = True


def delegate(world, to, row=slice(None), small=()):
    """Let everybody vote itself but those of `to`, column -> delegate; `small` are the columns of small owners."""
    delegate_to = np.full(world.governance.core.shape, SELF, np.int32)
    for column, choice in to.items():
        delegate_to[row, column] = choice
    is_small = np.zeros(delegate_to.shape, bool)
    is_small[:, list(small)] = True
    world.governance.delegations = Delegations.of(delegate_to, is_small, DELEGATE)
    world.governance.gopen_delegated_gwei = world.governance.delegated(world.agent_balance("wrapped"))


def told(world, kind, run=None) -> list[Event]:
    return [e for e in world.governance.events if e.kind == kind and run in (None, e.run)]


def detail(event: Event) -> dict:
    return json.loads(event.detail)


def split(world, row=0):
    names = ("model", "stakers", "contributors")
    return tuple(int(world.governed.read(f"fees.split.{name}")[row]) for name in names)


def run_proposal(days=20, submit=date(2025, 9, 10), world_args=None, each=None, services=None, **proposal):
    economy = make_economy(make_proposal(submit, **proposal))
    world = make_world(economy, **(world_args or {}))
    live(world, economy, range(days), services, each and (lambda day: each(world, day)))
    return world
