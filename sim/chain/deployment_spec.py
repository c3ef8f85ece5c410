"""Deployment specification: what the two chains start with, and who holds which role at first.

Rule decided here: a specification that the contracts cannot hold exactly is refused before anything is
deployed. Roles are held by accounts named here until governance, which is every role's admin, names others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Literal, get_args

from models.errors import InputError, Problem
from sim.chain.clients.governor import QUORUM_DENOMINATOR

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from models.vesting import Schedule

DEPLOYERS = {"l1": "deployer.l1", "l2": "deployer.l2"}
"""Labels of who deploys: one per chain, so that no two contracts have the same address."""

POSTER = "distributor.poster"
"""Label of who posts payout roots."""
SETTLER = "splitter.settler"
"""Label of who settles bills that were split one by one."""
LOG_POSTER = "log.poster"
"""Label of who anchors heads of the attribution log."""
REWARDER = "staking.rewarder"
"""Label of who pays rewards from the staking pot."""
SLASHER = "staking.slasher"
"""Label of who slashes what an audit found."""
ARBITER = "staking.arbiter"
"""Label of who decides disputes."""

BPS = 10_000

Executors = Literal["governor", "anybody"]
"""Who may execute a queued proposal at the timelock itself."""


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
            dates=tuple(midnight(day) for day in schedule.dates),
            numerators=schedule.numerators,
            denominator=schedule.denominator,
            beneficiary=beneficiary,
            start=midnight(schedule.tge_date),
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
    guardian
        Label of an account that may cancel what waits in the timelock, and nothing else; nobody when None. A
        proposal can take the role away.
    executors
        ``governor``: a queued proposal is executed through the governor, by anybody. ``anybody``: also at the
        timelock itself, which does for every action but the governor's own settings.

    Raises
    ------
    InputError
        If `executors` is neither.
    """

    threshold_wei: int
    delay_s: int
    period_s: int
    quorum_numerator: int
    quorum_denominator: int
    timelock_s: int
    guardian: str | None = None
    executors: Executors = "governor"

    def __post_init__(self) -> None:
        """Refuse executors that are not known."""
        if self.executors not in get_args(Executors):
            raise InputError(f"executors '{self.executors}': expected {' or '.join(get_args(Executors))}")

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
class StakingSpec:
    """Values of staking that no vote sets by name.

    Parameters
    ----------
    min_stake_units
        Least stake of a position, in units of the ledger.
    burn_bps, challenger_bps
        Parts of a slashed amount, basis points; the rest is the treasury's.

    Raises
    ------
    InputError
        If the least stake is below one unit, or the parts are more than the whole.
    """

    min_stake_units: int = 1
    burn_bps: int = 0
    challenger_bps: int = 0

    def __post_init__(self) -> None:
        """Refuse what the contract would refuse."""
        if self.min_stake_units < 1:
            raise InputError(f"least stake {self.min_stake_units} units: expected 1 or more")
        if min(self.burn_bps, self.challenger_bps) < 0 or self.burn_bps + self.challenger_bps > BPS:
            given = f"{self.burn_bps} + {self.challenger_bps}"
            raise InputError(f"slash parts {given} bps: expected 0 or more each, at most {BPS} together")


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
    announced
        Changes of them that are known at genesis: name, the second from which they hold, values.
    unit_wei
        Rounding unit of vesting, fees and stake, and wei per unit of the ledger: 10^9 for a ledger in gwei
        of an 18-decimal token.
    token_name, token_symbol
        Names of the L1 token.
    staking
        Values of staking.
    stakers_pot
        Label of the account that gets the stakers' part of fees; the staking contract itself when None.
    """

    tge_timestamp: int
    buckets: tuple[BucketSpec, ...]
    governance: GovernanceSpec
    parameters: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    unit_wei: int = 10**9
    token_name: str = "OpenLedger"
    token_symbol: str = "OPEN"
    staking: StakingSpec = field(default_factory=StakingSpec)
    stakers_pot: str | None = None
    announced: tuple[tuple[str, int, tuple[int, ...]], ...] = ()

    @property
    def cap_wei(self) -> int:
        """Sum of the allocations."""
        return sum(bucket.allocation_wei for bucket in self.buckets)

    def check(self) -> None:
        """Refuse amounts between two units, and buckets of one name.

        Raises
        ------
        InputError
            With every problem.
        """
        problems = [
            Problem(f"{wei} wei is not a multiple of the unit {self.unit_wei} wei", f"buckets.{b.name}")
            for b in self.buckets
            for wei in (b.allocation_wei, b.tge_wei)
            if wei % self.unit_wei
        ]
        seen = [b.name for b in self.buckets]
        problems += [
            Problem("bucket appears twice", f"buckets.{n}") for n in sorted(set(seen)) if seen.count(n) > 1
        ]
        if problems:
            raise InputError(problems)


def midnight(day: date) -> int:
    """Return the second at which a day begins (UTC)."""
    return int(datetime.combine(day, time.min, UTC).timestamp())
