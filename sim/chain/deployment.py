"""Deployment: every contract of the sandbox on its two chains, with the roles that hold afterwards.

Rule decided here: the timelock begins with no proposer and no executor; the governor gets proposer, executor
and canceller, and the deployer renounces the admin role, so that from then on only executed proposals change
anything. The distributor's admin and the writer of parameters is the timelock. Each bucket's vesting contract
is funded with its whole allocation; a bucket that is free from the first day needs no contract and is held by
a plain account.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

from models.errors import InputError, Problem
from sim.chain.addresses import address_of
from sim.chain.clients.distributor import Distributor
from sim.chain.clients.gopen import Gopen
from sim.chain.clients.governor import QUORUM_DENOMINATOR, Governor
from sim.chain.clients.open_token import OpenToken
from sim.chain.clients.parameters import Parameters
from sim.chain.clients.timelock import ADMIN_ROLE, GOVERNOR_ROLES, Timelock, role_id
from sim.chain.clients.vesting import TrancheVesting

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from models.vesting import Schedule
    from sim.chain.backend import Backend

DEPLOYERS = {"l1": "deployer.l1", "l2": "deployer.l2"}
"""Labels of who deploys: one per chain, so that no two contracts have the same address."""

POSTER = "distributor.poster"
"""Label of who posts payout roots."""


@dataclass(frozen=True, slots=True)
class BucketSpec:
    """One allocation bucket's schedule.

    Parameters
    ----------
    name
        Bucket name; its account is ``vesting.<name>``.
    allocation_wei, tge_wei
        Whole allocation, and the part that is free at TGE.
    dates
        Unlock times in seconds, increasing, not before TGE.
    numerators
        Cumulative numerators, one per date; the last equals `denominator`. Equal instalments have 1..n over
        n.
    denominator
        Common denominator.
    beneficiary
        Label of the account that releases pay to.
    start
        When the TGE part is free, seconds; the specification's TGE when None.
    """

    name: str
    allocation_wei: int
    tge_wei: int
    dates: tuple[int, ...]
    numerators: tuple[int, ...]
    denominator: int
    beneficiary: str
    start: int | None = None

    @classmethod
    def of_schedule(
        cls, name: str, schedule: Schedule, beneficiary: str, unit_wei: int = 10**9
    ) -> BucketSpec:
        """Return the bucket that pays from a calendar's own table, each date at its midnight (UTC).

        Parameters
        ----------
        name, beneficiary
            Bucket name, and the label that is paid.
        schedule
            The calendar, in ledger units.
        unit_wei
            Wei per ledger unit.
        """
        return cls(
            name=name,
            allocation_wei=schedule.allocation * unit_wei,
            tge_wei=schedule.tge * unit_wei,
            dates=tuple(_midnight(day) for day in schedule.dates),
            numerators=schedule.numerators,
            denominator=schedule.denominator,
            beneficiary=beneficiary,
            start=_midnight(schedule.tge_date),
        )

    @property
    def has_schedule(self) -> bool:
        """Whether anything is locked after TGE."""
        return self.tge_wei < self.allocation_wei


@dataclass(frozen=True, slots=True)
class GovernanceSpec:
    """Governance values.

    Parameters
    ----------
    threshold_wei
        Votes that a proposer needs.
    delay_s, period_s, timelock_s
        Voting delay, voting period and timelock, seconds.
    quorum_numerator, quorum_denominator
        Quorum as an exact fraction of the GOPEN supply.
    """

    threshold_wei: int
    delay_s: int
    period_s: int
    quorum_numerator: int
    quorum_denominator: int
    timelock_s: int

    @property
    def quorum_ppm(self) -> int:
        """Quorum in parts per million.

        Raises
        ------
        InputError
            If the fraction is not between 0 and 1 or has no exact value in parts per million.
        """
        scaled = self.quorum_numerator * QUORUM_DENOMINATOR
        if self.quorum_denominator <= 0 or not 0 <= self.quorum_numerator <= self.quorum_denominator:
            raise InputError(f"quorum {self.quorum_numerator}/{self.quorum_denominator}: expected 0 to 1")
        if scaled % self.quorum_denominator:
            given = f"{self.quorum_numerator}/{self.quorum_denominator}"
            raise InputError(f"quorum {given} is not a whole number of millionths of the supply")
        return scaled // self.quorum_denominator


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """Everything that the two chains start with.

    Parameters
    ----------
    tge_timestamp
        Time of the token generation event, seconds.
    buckets
        Allocation buckets; their sum is the cap.
    governance
        Governance values.
    parameters
        Governed parameters at genesis: vectors of integers by name.
    unit_wei
        Rounding unit of vesting and wei per unit of the ledger: 10^9 for a ledger in gwei of an 18-decimal
        token.
    token_name, token_symbol
        Names of the L1 token.
    """

    tge_timestamp: int
    buckets: tuple[BucketSpec, ...]
    governance: GovernanceSpec
    parameters: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    unit_wei: int = 10**9
    token_name: str = "OpenLedger"
    token_symbol: str = "OPEN"

    @property
    def cap_wei(self) -> int:
        """Sum of the allocations."""
        return sum(bucket.allocation_wei for bucket in self.buckets)


@dataclass(frozen=True, slots=True)
class Deployment:
    """Clients of everything that was deployed.

    Parameters
    ----------
    l1, l2
        The two chains.
    token, vesting
        L1: the token, and the vesting contract of each bucket that has a schedule.
    gopen, timelock, governor, distributor, parameters
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
    _check(spec)
    deployer = address_of(DEPLOYERS["l1"])
    token = OpenToken.deploy(
        l1, deployer, name=spec.token_name, symbol=spec.token_symbol, cap_wei=spec.cap_wei, holder=deployer
    )
    vesting = {b.name: _deploy_bucket(l1, token, spec, b) for b in spec.buckets if b.has_schedule}
    for bucket in spec.buckets:
        holder = vesting[bucket.name].address if bucket.has_schedule else address_of(f"vesting.{bucket.name}")
        token.transfer(deployer, holder, bucket.allocation_wei)
    deployer = address_of(DEPLOYERS["l2"])
    gopen = Gopen.deploy(l2, deployer)
    timelock, governor = _deploy_governance(l2, gopen, spec.governance)
    return Deployment(
        spec=spec, l1=l1, l2=l2, token=token, vesting=vesting, gopen=gopen, timelock=timelock,
        governor=governor,
        distributor=Distributor.deploy(l2, deployer, admin=timelock.address, poster=address_of(POSTER)),
        parameters=Parameters.deploy(l2, deployer, governance=timelock.address, initial=spec.parameters),
    )  # fmt: skip


def _midnight(day: date) -> int:
    return int(datetime.combine(day, time.min, UTC).timestamp())


def _check(spec: DeploymentSpec) -> None:
    problems = [
        Problem(f"{wei} wei is not a multiple of the unit {spec.unit_wei} wei", f"buckets.{b.name}")
        for b in spec.buckets
        for wei in (b.allocation_wei, b.tge_wei)
        if wei % spec.unit_wei
    ]
    seen = [b.name for b in spec.buckets]
    problems += [
        Problem("bucket appears twice", f"buckets.{n}") for n in sorted(set(seen)) if seen.count(n) > 1
    ]
    if problems:
        raise InputError(problems)


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
    timelock.renounce_role(deployer, ADMIN_ROLE)
    return timelock, governor
