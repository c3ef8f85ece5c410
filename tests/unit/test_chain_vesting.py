"""Vesting contracts to the wei: every kind of calendar at each of its dates, and tables that are refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from fractions import Fraction

import pytest

pytest.importorskip("eth")

from models.units import Duration
from models.vesting import Schedule, vested_on
from sim.chain.abi import Reverted
from sim.chain.addresses import address_of
from sim.chain.clients.open_token import OpenToken
from sim.chain.clients.vesting import TrancheVesting
from sim.chain.demo import day0_timestamp
from sim.chain.deployment import BucketSpec
from sim.chain.evm import Chain

OPEN = 10**18
T0 = day0_timestamp()
ALICE, BOB, CAROL = (address_of(name) for name in ("alice", "bob", "carol"))


SCHEDULES = {
    "community": {"allocation": 517_100_000, "tge": 145_500_000, "linear": Duration(months=48)},
    "investors": {"allocation": 182_900_000, "cliff": Duration(months=12), "linear": Duration(months=36)},
    "catch-up": {
        "allocation": 332_900_000, "cliff": Duration(months=12), "linear": Duration(months=48),
        "catch_up": True,
    },
    "gross": {
        "allocation": 617_100_001, "tge": 165_500_000, "linear": Duration(months=48),
        "linear_of": "allocation",
    },
    "daily": {"allocation": 1_000_003, "linear": Duration(months=3), "every": "day"},
    "per second": {"allocation": 1_000_003, "linear": Duration(months=3), "every": "second"},
    "table": {
        "allocation": 100, "tge": 7,
        "table": [(date(2026, 1, 31), 33 * 10**9 + 1), (date(2027, 2, 28), 60 * 10**9 - 1)],
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "unit"),
    [(name, 10**9) for name in SCHEDULES] + [(name, 1) for name in SCHEDULES if name != "table"],
)
def test_vesting_equals_the_formula_at_every_date(name, unit):
    """In gwei with unit 10^9, in wei with unit 1: at each date, and 0 in the second before the first."""
    words = dict(SCHEDULES[name])
    scale = OPEN // unit
    words["allocation"] *= scale
    words["tge"] = words.get("tge", 0) * scale
    start = date(2025, 8, 31)
    schedule = Schedule.build(start=start, tge_date=date(2025, 9, 8), **words)
    bucket = BucketSpec.of_schedule("b", schedule, "pool", unit)
    chain = Chain(chain_id=1_000, genesis_time=int(datetime(2025, 8, 1, tzinfo=UTC).timestamp()))
    token = OpenToken.deploy(chain, ALICE, name="T", symbol="T", cap_wei=bucket.allocation_wei, holder=ALICE)
    contract = TrancheVesting.deploy(
        chain, ALICE, token=token.address, beneficiary=BOB, allocation_wei=bucket.allocation_wei,
        tge_wei=bucket.tge_wei, unit_wei=unit, start=bucket.start, dates=bucket.dates,
        numerators=bucket.numerators, denominator=bucket.denominator,
    )  # fmt: skip
    token.transfer(ALICE, contract.address, bucket.allocation_wei)
    days = sorted({schedule.tge_date, *schedule.dates})
    assert contract.vested(min(bucket.dates[0], bucket.start) - 1) == 0
    shown = days if len(days) < 60 else [*days[:: len(days) // 12], days[-1]]
    for day in shown:
        midnight = int(datetime.combine(day, time.min, UTC).timestamp())
        assert contract.vested(midnight) == vested_on(schedule, day) * unit
    chain.set_time(midnight)
    amount, _ = contract.release(CAROL)
    assert amount == token.balance_of(BOB) == contract.released() == bucket.allocation_wei
    with pytest.raises(Reverted, match="NothingToRelease"):
        contract.release(CAROL)


def test_piecewise_steps_vest_as_the_formula_says():
    steps = [(1, 12, Fraction(1, 4)), (13, 18, Fraction(3, 8)), (19, 36, Fraction(3, 8))]
    schedule = Schedule.build(allocation=10**9 + 7, start=date(2025, 9, 8), steps=steps)
    bucket = BucketSpec.of_schedule("b", schedule, "pool")
    chain = Chain(chain_id=1_000, genesis_time=T0)
    contract = TrancheVesting.deploy(
        chain, ALICE, token=ALICE, beneficiary=BOB, allocation_wei=bucket.allocation_wei, tge_wei=0,
        unit_wei=10**9, start=bucket.start, dates=bucket.dates, numerators=bucket.numerators,
        denominator=bucket.denominator,
    )  # fmt: skip
    for day, timestamp in zip(schedule.dates, bucket.dates, strict=True):
        assert contract.vested(timestamp) == vested_on(schedule, day) * 10**9


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"unit_wei": 0}, "InvalidUnit"),
        ({"allocation_wei": 10**18 + 1}, "InvalidUnit"),
        ({"tge_wei": 2 * 10**18}, "TgePartAboveAllocation"),
        ({"dates": (T0, T0)}, "DatesNotIncreasing"),
        ({"numerators": (2, 1)}, "NumeratorsDecreasing"),
        ({"numerators": (1, 2, 3)}, "LengthMismatch"),
        ({"denominator": 3}, "NeverVestsFully"),
        ({"dates": (), "numerators": ()}, "NeverVestsFully"),
    ],
)
def test_vesting_tables_that_make_no_sense_are_refused(changes, error):
    chain = Chain(chain_id=1_000, genesis_time=T0)
    words = {
        "token": ALICE, "beneficiary": BOB, "allocation_wei": 10**18, "tge_wei": 0, "unit_wei": 10**9,
        "start": T0, "dates": (T0 + 1, T0 + 2), "numerators": (1, 2), "denominator": 2,
    } | changes  # fmt: skip
    with pytest.raises(Reverted, match=error):
        TrancheVesting.deploy(chain, ALICE, **words)
