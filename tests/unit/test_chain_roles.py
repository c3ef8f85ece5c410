"""Roles: who may cancel and execute what was voted, and who holds which right after deployment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("eth")

from models.errors import InputError
from models.governance import ProposalState
from sim.chain.abi import Reverted
from sim.chain.addresses import address_of
from sim.chain.clients.governor import Call, Support
from sim.chain.clients.timelock import ADMIN_ROLE, ANYBODY, GOVERNOR_ROLES, role_id
from sim.chain.demo import day0_timestamp, open_spec
from sim.chain.deployment import GovernanceSpec, StakingSpec, deploy_all
from sim.chain.deployment_spec import ARBITER, LOG_POSTER, POSTER, REWARDER, SETTLER, SLASHER
from sim.chain.evm import Chain
from sim.scenario import load
from sim.scenario.governed import GOVERNED

OPEN, DAY = 10**18, 86_400
T0 = day0_timestamp()
ALICE, BOB, GUARDIAN = (address_of(name) for name in ("alice", "bob", "guardian"))
CANCELLER, EXECUTOR = role_id("CANCELLER_ROLE"), role_id("EXECUTOR_ROLE")
SCENARIOS = Path(__file__).parents[2] / "scenarios"


def deploy(**changes):
    spec = open_spec()
    spec = replace(spec, governance=replace(spec.governance, **changes))
    l1 = Chain(chain_id=900_001, genesis_time=T0 - DAY)
    l2 = Chain(chain_id=900_161, genesis_time=T0 - DAY, balances={ALICE: 10**26})
    return deploy_all(l1, l2, spec)


def queued(d, calls, text="x"):
    """Bring a proposal into the timelock; return its number and the timelock's id for it."""
    d.gopen.deposit(ALICE, 10**24)
    d.gopen.delegate(ALICE, ALICE)
    d.l2.set_time(d.l2.time + 1)
    number, _ = d.governor.propose(ALICE, calls, text)
    d.l2.set_time(d.governor.snapshot(number) + 1)
    d.governor.cast_vote(ALICE, number, Support.FOR)
    d.l2.set_time(d.governor.deadline(number) + 1)
    d.governor.queue(BOB, calls, text)
    return number, d.timelock.operation_id(calls, d.governor.operation_salt(text))


def set_fee(d):
    return (Call(d.parameters.address, d.parameters.set_calldata("fees.burn", (100,))),)


def test_a_guardian_cancels_what_is_queued_and_nothing_else():
    d = deploy(guardian="guardian")
    calls = set_fee(d)
    number, operation = queued(d, calls)
    assert d.governor.state(number) is ProposalState.QUEUED
    with pytest.raises(Reverted, match="AccessControlUnauthorizedAccount"):
        d.timelock.cancel(BOB, operation)
    d.timelock.cancel(GUARDIAN, operation)
    assert d.governor.state(number) is ProposalState.CANCELED
    d.l2.set_time(d.l2.time + 8 * DAY)
    with pytest.raises(Reverted, match="GovernorUnexpectedProposalState"):
        d.governor.execute(BOB, calls, "x")
    for role in ("PROPOSER_ROLE", "EXECUTOR_ROLE"):
        assert not d.timelock.has_role(role_id(role), GUARDIAN)
    with pytest.raises(Reverted, match="AccessControlUnauthorizedAccount"):
        d.timelock.grant_role(GUARDIAN, CANCELLER, BOB)


def test_a_vote_takes_the_guardians_role_away():
    d = deploy(guardian="guardian")
    data = d.timelock.abi.encode_call("revokeRole", CANCELLER, GUARDIAN)
    calls = (Call(d.timelock.address, data),)
    number, _ = queued(d, calls)
    d.l2.set_time(d.governor.eta(number))
    d.governor.execute(BOB, calls, "x")
    assert not d.timelock.has_role(CANCELLER, GUARDIAN)


def test_by_default_there_is_no_guardian_and_everybody_executes_through_the_governor():
    d = deploy()
    calls = set_fee(d)
    number, operation = queued(d, calls)
    with pytest.raises(Reverted, match="AccessControlUnauthorizedAccount"):
        d.timelock.cancel(GUARDIAN, operation)
    d.l2.set_time(d.governor.eta(number))
    with pytest.raises(Reverted) as refused:
        d.timelock.execute_batch(BOB, calls, d.governor.operation_salt("x"))
    assert (refused.value.error, refused.value.arguments["neededRole"]) == (
        "AccessControlUnauthorizedAccount",
        EXECUTOR,
    )
    d.governor.execute(BOB, calls, "x")
    assert d.parameters.get("fees.burn") == (100,)


def test_with_open_executors_anybody_executes_at_the_timelock_itself():
    d = deploy(executors="anybody")
    calls = set_fee(d)
    number, _ = queued(d, calls)
    salt = d.governor.operation_salt("x")
    d.l2.set_time(d.governor.eta(number) - 1)
    with pytest.raises(Reverted, match="TimelockUnexpectedOperationState"):
        d.timelock.execute_batch(BOB, calls, salt)
    d.l2.set_time(d.governor.eta(number))
    d.timelock.execute_batch(BOB, calls, salt)
    assert d.governor.state(number) is ProposalState.EXECUTED
    assert d.parameters.get("fees.burn") == (100,)


def test_the_governors_own_settings_change_through_the_governor_alone():
    """The governor remembers what it executes itself; a call that comes past it is refused."""
    d = deploy(executors="anybody")
    calls = (Call(d.governor.address, d.governor.abi.encode_call("setVotingPeriod", 9 * DAY)),)
    number, _ = queued(d, calls)
    d.l2.set_time(d.governor.eta(number))
    with pytest.raises(Reverted):
        d.timelock.execute_batch(BOB, calls, d.governor.operation_salt("x"))
    d.governor.execute(BOB, calls, "x")
    assert d.governor.settings()["period_s"] == 9 * DAY


def test_who_holds_what_after_deployment():
    d = deploy(guardian="guardian", executors="anybody")
    deployer = address_of("deployer.l2")
    held = {
        (d.distributor, "POSTER_ROLE"): POSTER, (d.splitter, "SETTLER_ROLE"): SETTLER,
        (d.log_anchor, "POSTER_ROLE"): LOG_POSTER, (d.staking, "REWARDER_ROLE"): REWARDER,
        (d.staking, "SLASHER_ROLE"): SLASHER, (d.staking, "ARBITER_ROLE"): ARBITER,
    }  # fmt: skip
    for (contract, role), label in held.items():
        assert contract.read("hasRole", role_id(role), address_of(label))
        assert not contract.read("hasRole", role_id(role), deployer)
        assert contract.read("hasRole", ADMIN_ROLE, d.timelock.address)
        assert not contract.read("hasRole", ADMIN_ROLE, deployer)
    assert d.timelock.has_role(EXECUTOR, ANYBODY)
    for role in (*map(role_id, GOVERNOR_ROLES), ADMIN_ROLE):
        assert not d.timelock.has_role(role, deployer)


def test_a_vote_names_another_settler():
    d = deploy()
    settler = role_id("SETTLER_ROLE")
    calls = tuple(
        Call(d.splitter.address, d.splitter.abi.encode_call(name, settler, account))
        for name, account in (("revokeRole", address_of(SETTLER)), ("grantRole", BOB))
    )
    number, _ = queued(d, calls)
    d.l2.set_time(d.governor.eta(number))
    d.governor.execute(BOB, calls, "x")
    assert d.splitter.read("hasRole", settler, BOB)
    assert not d.splitter.read("hasRole", settler, address_of(SETTLER))


def test_executors_and_slash_parts_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="executors 'all': expected governor or anybody"):
        GovernanceSpec(0, 0, 1, 1, 20, 0, executors="all")
    with pytest.raises(InputError, match=r"slash parts 6000 \+ 4001 bps: .* at most 10000 together"):
        StakingSpec(burn_bps=6_000, challenger_bps=4_001)
    with pytest.raises(InputError, match="least stake 0 units: expected 1 or more"):
        StakingSpec(min_stake_units=0)


@pytest.mark.parametrize(
    ("file", "settings", "timelock_s"),
    [
        ("baseline", (DAY, 7 * DAY, 10_000 * OPEN, 50_000), 7 * DAY),
        ("presets/audit_2025_07", (DAY, 14 * DAY, 100 * OPEN, 250_000), DAY),
    ],
)
def test_both_published_sets_of_parameters_deploy_from_their_scenarios(file, settings, timelock_s):
    scenario = load(SCENARIOS / f"{file}.yaml")
    names = ("threshold", "delay", "period", "quorum", "timelock")
    rules = {
        name: GOVERNED[f"governance.{name}"].encode(
            scenario.parameter(f"governance.{name}").on(scenario.start)
        )[0]
        for name in names
    }
    d = deploy(
        threshold_wei=rules["threshold"] * 10**9, delay_s=rules["delay"], period_s=rules["period"],
        quorum_numerator=rules["quorum"], quorum_denominator=10_000, timelock_s=rules["timelock"],
    )  # fmt: skip
    names = ("delay_s", "period_s", "threshold_wei", "quorum_ppm")
    assert tuple(d.governor.settings()[name] for name in names) == settings
    assert d.timelock.delay_seconds() == timelock_s
