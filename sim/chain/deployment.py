"""Deployment: every contract of the sandbox on its two chains, with the roles that hold afterwards.

Rule decided here: the timelock begins with no proposer and no executor; the governor gets proposer, executor
and canceller, a guardian canceller alone where there is one, and the deployer renounces the admin role, so
that from then on only executed proposals change anything. The timelock is the admin of every other contract's
roles and the writer of parameters; the deployer never has a right in them. Each bucket's vesting contract is
funded with its whole allocation; a bucket that is free from the first day needs no contract and is held by a
plain account. Contracts are created in one order, so that their addresses are the same in every run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.chain.addresses import address_of
from sim.chain.clients.distributor import Distributor
from sim.chain.clients.fee_splitter import FeeSplitter, Payees
from sim.chain.clients.gopen import Gopen
from sim.chain.clients.governor import Governor
from sim.chain.clients.log_anchor import LogAnchor
from sim.chain.clients.open_token import OpenToken
from sim.chain.clients.parameters import Parameters
from sim.chain.clients.registry import Registry
from sim.chain.clients.staking import Officers, Staking
from sim.chain.clients.timelock import ADMIN_ROLE, ANYBODY, GOVERNOR_ROLES, Timelock, role_id
from sim.chain.clients.vesting import TrancheVesting
from sim.chain.deployment_spec import (
    ARBITER,
    DEPLOYERS,
    LOG_POSTER,
    POSTER,
    REWARDER,
    SETTLER,
    SLASHER,
    BucketSpec,
    DeploymentSpec,
    GovernanceSpec,
    StakingSpec,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.chain.backend import Backend

__all__ = [
    "DEPLOYERS",
    "POSTER",
    "BucketSpec",
    "Deployment",
    "DeploymentSpec",
    "GovernanceSpec",
    "StakingSpec",
    "deploy_all",
]


@dataclass(frozen=True, slots=True)
class Deployment:
    """Clients of everything that was deployed.

    Parameters
    ----------
    l1, l2
        The two chains.
    token, vesting
        L1: the token, and the vesting contract of each bucket that has a schedule.
    gopen, timelock, governor, distributor, parameters, staking, splitter, registry, log_anchor
        L2.
    """

    spec: DeploymentSpec
    l1: Backend
    l2: Backend
    token: OpenToken
    vesting: Mapping[str, TrancheVesting]
    gopen: Gopen
    timelock: Timelock
    governor: Governor
    distributor: Distributor
    parameters: Parameters
    staking: Staking
    splitter: FeeSplitter
    registry: Registry
    log_anchor: LogAnchor

    @property
    def contracts(self) -> dict[str, bytes]:
        """Addresses by name; vesting contracts as ``vesting.<bucket>``."""
        named = {
            "OPEN": self.token.address,
            "GOPEN": self.gopen.address,
            "Timelock": self.timelock.address,
            "OpenGovernor": self.governor.address,
            "AttributionDistributor": self.distributor.address,
            "Parameters": self.parameters.address,
            "Staking": self.staking.address,
            "FeeSplitter": self.splitter.address,
            "Registry": self.registry.address,
            "LogAnchor": self.log_anchor.address,
        }
        return named | {f"vesting.{name}": client.address for name, client in self.vesting.items()}


def deploy_all(l1: Backend, l2: Backend, spec: DeploymentSpec) -> Deployment:
    """Deploy every contract and hand all rights to governance.

    Parameters
    ----------
    l1, l2
        Chains whose time is not after the TGE by more than the run wants; vesting pays by their clocks.
    spec
        What to deploy.

    Returns
    -------
    Deployment
        Clients of the contracts.

    Raises
    ------
    InputError
        If an allocation is not a multiple of the unit or a bucket appears twice.
    """
    spec.check()
    token, vesting = _deploy_l1(l1, spec)
    deployer = address_of(DEPLOYERS["l2"])
    gopen = Gopen.deploy(l2, deployer)
    timelock, governor = _deploy_governance(l2, gopen, spec.governance)
    distributor = Distributor.deploy(l2, deployer, admin=timelock.address, poster=address_of(POSTER))
    parameters = Parameters.deploy(
        l2, deployer, governance=timelock.address, initial=spec.parameters, announced=spec.announced
    )
    staking = _deploy_staking(l2, spec, timelock, parameters)
    return Deployment(
        spec=spec, l1=l1, l2=l2, token=token, vesting=vesting, gopen=gopen, timelock=timelock,
        governor=governor, distributor=distributor, parameters=parameters, staking=staking,
        splitter=_deploy_splitter(l2, spec, timelock, parameters, staking),
        registry=Registry.deploy(l2, deployer),
        log_anchor=LogAnchor.deploy(l2, deployer, admin=timelock.address, poster=address_of(LOG_POSTER)),
    )  # fmt: skip


def _deploy_l1(l1: Backend, spec: DeploymentSpec) -> tuple[OpenToken, dict[str, TrancheVesting]]:
    deployer = address_of(DEPLOYERS["l1"])
    token = OpenToken.deploy(
        l1, deployer, name=spec.token_name, symbol=spec.token_symbol, cap_wei=spec.cap_wei, holder=deployer
    )
    vesting = {b.name: _deploy_bucket(l1, token, spec, b) for b in spec.buckets if b.has_schedule}
    for bucket in spec.buckets:
        holder = vesting[bucket.name].address if bucket.has_schedule else address_of(f"vesting.{bucket.name}")
        token.transfer(deployer, holder, bucket.allocation_wei)
    return token, vesting


def _deploy_bucket(l1: Backend, token: OpenToken, spec: DeploymentSpec, bucket: BucketSpec) -> TrancheVesting:
    return TrancheVesting.deploy(
        l1,
        address_of(DEPLOYERS["l1"]),
        token=token.address,
        beneficiary=address_of(bucket.beneficiary),
        allocation_wei=bucket.allocation_wei,
        tge_wei=bucket.tge_wei,
        unit_wei=spec.unit_wei,
        start=spec.tge_timestamp if bucket.start is None else bucket.start,
        dates=bucket.dates,
        numerators=bucket.numerators,
        denominator=bucket.denominator,
    )


def _deploy_governance(l2: Backend, gopen: Gopen, spec: GovernanceSpec) -> tuple[Timelock, Governor]:
    deployer = address_of(DEPLOYERS["l2"])
    timelock = Timelock.deploy(l2, deployer, delay_s=spec.timelock_s, admin=deployer)
    governor = Governor.deploy(
        l2,
        deployer,
        token=gopen.address,
        timelock=timelock.address,
        delay_s=spec.delay_s,
        period_s=spec.period_s,
        threshold_wei=spec.threshold_wei,
        quorum_ppm=spec.quorum_ppm,
    )
    for role in GOVERNOR_ROLES:
        timelock.grant_role(deployer, role_id(role), governor.address)
    if spec.guardian is not None:
        timelock.grant_role(deployer, role_id("CANCELLER_ROLE"), address_of(spec.guardian))
    if spec.executors == "anybody":
        timelock.grant_role(deployer, role_id("EXECUTOR_ROLE"), ANYBODY)
    timelock.renounce_role(deployer, ADMIN_ROLE)
    return timelock, governor


def _deploy_staking(l2: Backend, spec: DeploymentSpec, timelock: Timelock, parameters: Parameters) -> Staking:
    return Staking.deploy(
        l2,
        address_of(DEPLOYERS["l2"]),
        admin=timelock.address,
        officers=Officers(address_of(REWARDER), address_of(SLASHER), address_of(ARBITER)),
        parameters=parameters.address,
        treasury=timelock.address,
        unit_wei=spec.unit_wei,
        min_stake_wei=spec.staking.min_stake_units * spec.unit_wei,
        burn_bps=spec.staking.burn_bps,
        challenger_bps=spec.staking.challenger_bps,
    )


def _deploy_splitter(
    l2: Backend, spec: DeploymentSpec, timelock: Timelock, parameters: Parameters, staking: Staking
) -> FeeSplitter:
    """Create the splitter; what the distributor gets waits at its poster, who funds each epoch's root."""
    payees = Payees(
        operators=address_of("operators_pot"),
        treasury=timelock.address,
        distributor=address_of(POSTER),
        stakers=staking.address if spec.stakers_pot is None else address_of(spec.stakers_pot),
    )
    return FeeSplitter.deploy(
        l2,
        address_of(DEPLOYERS["l2"]),
        admin=timelock.address,
        settler=address_of(SETTLER),
        parameters=parameters.address,
        unit_wei=spec.unit_wei,
        payees=payees,
    )
