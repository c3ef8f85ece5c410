"""Kernels of payouts and of what a month records against their plain references, integer for integer, up to the cap."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.apportion import apportion as divide
from models.attribution import class_parts, mixed_weights
from models.exact import mul_div
from models.operators import days_in_a_row, margin
from sim import payouts
from sim.accounts import PAYEES
from sim.kernels import margins, shares
from sim.kernels.apportion import apportion, floors_of_some
from sim.kernels.ranks import ranked
from tests.property.kernel_arrays import CAP, LAYOUT, RUNS, generators, gwei


def payees(generator):
    """A world that has only the books of payouts, brought forward."""
    earned, claimed, income = (gwei(generator, CAP // 4) for _ in range(3))
    month = gwei(generator, CAP // 4, (len(RUNS), 40))
    usage = SimpleNamespace(claimed=claimed, cumulative_earned=earned + claimed, income_month=month)
    return SimpleNamespace(
        layout=LAYOUT,
        earned=earned,
        income=income,
        usage=usage,
        earned_by=lambda name: earned[:, LAYOUT.slice(name)],
    )


class TestShares:
    @given(generators())
    def test_mixed_weights(self, drawn):
        generator, _ = drawn
        pots, weights = gwei(generator, CAP // 8, (3, 4)), gwei(generator, 10**9, (3, 4, 50))
        pots[0] = 0
        weights[1] = 0
        mixed, some = np.full((3, 50), -1), np.empty(3, np.bool_)
        shares.mix(class_parts(pots, apportion), weights.astype(np.int32), mixed, some)
        wanted = mixed_weights(pots, weights)
        assert (some == wanted.any(axis=1)).all()
        assert (mixed == np.where(some[:, None], wanted, -1)).all(), (
            "runs without a weight are left as they are"
        )

    @given(generators(), st.booleans())
    def test_floors_of_few_payees(self, drawn, in_order):
        """Quotients that no estimate is good enough for are left to the exact formula."""
        generator, most = drawn
        run, total = generator.integers(0, len(RUNS), 40), gwei(generator, most, len(RUNS))
        run = np.sort(run) if in_order else run
        weights = gwei(generator, CAP // 100 if most > 10**13 else 10**9, 40)
        whole = np.maximum(np.bincount(run, weights, len(RUNS)).astype(np.int64) * 2, 1)
        wanted, _ = mul_div(total[run], weights, whole[run])
        assert (floors_of_some(total, whole, run, weights) == wanted).all()

    @given(generators(), st.sampled_from(PAYEES))
    def test_what_is_paid_out_is_divided_and_credited(self, drawn, name):
        """Weights whose sum no estimate can divide by are left to the reference from their run on."""
        generator, most = drawn
        world, columns = payees(generator), LAYOUT.slice(name)
        count = columns.stop - columns.start
        total, weights = gwei(generator, most, len(RUNS)), gwei(generator, 10**9, (len(RUNS), count))
        weights[generator.integers(0, 3)] *= generator.choice([0, 1, 10**6])
        parts, wanted = divide(total, weights), world.earned.copy()
        wanted[:, columns] += 2 * parts
        paid = payouts.pay_out(world, name, total, weights)
        payouts.credit(world, name, parts)
        assert (paid == parts.sum(axis=1)).all()
        assert (world.earned == wanted).all()

    @given(generators())
    def test_books_that_are_brought_forward(self, drawn):
        generator, most = drawn
        world = payees(generator)
        usage, income, month = world.usage, world.income.copy(), world.usage.income_month.copy()
        amounts = {name: gwei(generator, most, world.earned_by(name).shape) for name in PAYEES}
        for name, paid in amounts.items():
            payouts.credit(world, name, paid)
            income[:, LAYOUT.slice(name)] += paid
        columns = LAYOUT.slice("contributors")  # a claim moves what is owed and pays nobody
        usage.claimed[:, columns] += world.earned[:, columns]
        world.earned[:, columns] = 0
        for _ in range(2):
            payouts.bring_forward(world)
            assert (world.income == income).all()
            assert (usage.income_month == month + amounts["contributors"]).all()
            assert (usage.cumulative_earned == world.earned + usage.claimed).all()

    def test_a_negative_amount_is_refused(self):
        with pytest.raises(ValueError, match="must be 0 or more"):
            payouts.pay_out(
                payees(np.random.default_rng(1)),
                "contributors",
                np.array([5, -1, 5]),
                np.ones((3, 40), np.int64),
            )


class TestRanks:
    """Sorting by distribution, where amounts differ by size and where they do not."""

    @given(generators())
    def test_rising_order(self, drawn):
        generator, most = drawn
        amounts = gwei(generator, most)
        amounts[0] = np.minimum(amounts[0], 1)
        amounts[1, : generator.integers(0, 200)] = most
        assert (ranked(amounts) == np.sort(amounts, axis=1)).all()

    @pytest.mark.parametrize("spread", [1, 40, 2**20, 2**52, CAP])
    def test_any_spread(self, spread):
        generator = np.random.default_rng(spread)
        amounts = generator.integers(CAP - spread, CAP, (2, 3000), endpoint=True)
        sizes = np.exp(generator.normal(20, 4, (2, 3000))).astype(np.int64)
        for drawn in (amounts, sizes, sizes[:, :1], amounts[:, 100:2000]):
            assert (ranked(drawn) == np.sort(drawn, axis=1)).all()


@given(generators())
def test_days_beyond_a_threshold(drawn):
    generator, _ = drawn
    machine = np.repeat(np.arange(2), [3, 2])
    revenue, spent = generator.choice([0.0, 0.5, 1.0, 1.25, 2.0], (2, 2, 4, 2))
    shared, factor = generator.choice([0.5, 1.0], (4, 2)), generator.choice([1.0, 1.25], (4, 5))
    above, below = generator.integers(0, 9, (2, 4, 5))
    high, low = generator.choice([-1.0, 0.0, 0.25, 1.0], 2)
    more, less = np.ones((4, 5), bool), np.ones((4, 5), bool)
    for earned, paid in zip(revenue, spent, strict=True):
        cost = paid[:, machine] * factor
        more &= (cost > 0) & (margin((earned * shared)[:, machine], cost) > high)
        less &= (cost > 0) & (margin(earned[:, machine], cost) < low)
    wanted = days_in_a_row(above, more), days_in_a_row(below, less)
    margins.count_days(revenue, spent, shared, machine, factor, high, low, above, below)
    assert (above == wanted[0]).all()
    assert (below == wanted[1]).all()
