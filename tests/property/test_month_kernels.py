"""Kernels of a month's last day and of the next against plain numpy, integer for integer and bit for bit."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.attribution import cluster_values, net_weights
from models.inequality import gini, gini_of_sums, hhi, nakamoto
from sim import draws
from sim.kernels import claims, grantees, people, worth
from sim.payouts import plan_sale, plan_some_sales
from sim.picks import Picks
from tests.property.kernel_arrays import CAP, LAYOUT, SHAPE, generators, gwei

COLUMNS = LAYOUT.slice("contributors")
OWN = (SHAPE[0], LAYOUT.count("contributors"))


def words(generator, shape=OWN):
    """Draws, some of them the same."""
    return generator.integers(0, 2**32, shape).astype(np.uint32) >> generator.choice([0, 30])


class TestGrantees:
    @given(generators(), st.integers(0, 50))
    def test_they_are_the_first_of_a_stable_sort(self, drawn, most):
        generator, _ = drawn
        word, behind = words(generator), generator.random(OWN) < 0.5
        award = gwei(generator, 1, OWN)
        number = generator.integers(-1, most, OWN[0], endpoint=True)
        found = np.full((2, OWN[0] * OWN[1]), -1)
        count = grantees.first(word, behind, award, number, *found)
        wanted = []
        for run in range(OWN[0]):
            key = (word[run] + 0.5) * 2.0**-32 + behind[run]
            rank = [a for a in np.argsort(key, kind="stable") if award[run, a] == 0]
            wanted += [(run, a) for a in rank[: max(number[run], 0)]]
        assert found[:, :count].T.tolist() == [list(pair) for pair in wanted]

    @given(generators(), st.floats(0, 1), st.floats(0, 1))
    def test_who_stays_for_the_income(self, drawn, leave, join):
        generator, most = drawn
        income, price, people_each = gwei(generator, most, OWN), generator.random(OWN[0]), 3.7
        active, tranche = generator.random(OWN) < 0.5, generator.integers(-2, 3, OWN)
        word, usd = words(generator), np.empty(OWN)
        worth_of_it = income / 1e9 * price[:, None] / people_each
        grantees.incomes(income, price, people_each, active, usd)
        assert (usd == np.where(active, worth_of_it, 0.0)).all()
        outside = float(generator.choice(worth_of_it.ravel()))
        average = outside + generator.normal(size=OWN[0])
        uniform = (word + 0.5) * 2.0**-32
        leaves = active & (tranche <= 0) & (worth_of_it < outside) & (uniform < leave)
        joins = ~active & (average > outside)[:, None] & (uniform < join)
        wanted = (active & ~leaves) | joins
        edges = draws.below(np.array([leave, join]))
        grantees.stay(income, price, people_each, active, tranche, word, outside, average, *edges)
        assert (active == wanted).all()


class TestClaims:
    @given(generators())
    def test_claims_are_booked(self, drawn):
        generator, most = drawn
        earned, claimed = gwei(generator, most), gwei(generator, most)
        owed, taken, least = earned.copy(), claimed.copy(), gwei(generator, most, OWN[0])
        amounts, totals = np.empty(OWN, np.int64), np.empty(OWN[0], np.int64)
        claims.claimable(earned, COLUMNS.start, least, amounts, totals)
        own = earned[:, COLUMNS]
        assert (amounts == np.where(own >= least[:, None], own, 0)).all()
        assert (totals == amounts.sum(axis=1)).all()
        claims.book(amounts, COLUMNS.start, earned, claimed)
        owed[:, COLUMNS] -= amounts
        taken[:, COLUMNS] += amounts
        assert (earned == owed).all()
        assert (claimed == taken).all()

    @given(generators(), st.floats(0, 1))
    def test_sales_are_planned(self, drawn, share):
        generator, most = drawn
        received, planned = gwei(generator, most, OWN), gwei(generator, most, OWN)
        wanted = planned + np.floor(received * share).astype(np.int64)
        usage = SimpleNamespace(to_withdraw={"contributors": planned.copy()})
        world = SimpleNamespace(usage=usage, layout=LAYOUT)
        plan_sale(world, "contributors", received, share)
        assert (usage.to_withdraw["contributors"] == wanted).all()
        usage.to_withdraw["contributors"] = planned
        plan_some_sales(world, "contributors", Picks.of_class(LAYOUT, "contributors", received), share)
        assert (planned == wanted).all()


class TestWorth:
    @given(generators())
    def test_values_are_those_of_clusters(self, drawn):
        generator, _ = drawn
        active, noise, detected = generator.random((3, *OWN)) < 0.4
        size, word, floor = generator.lognormal(size=OWN), words(generator), generator.random(OWN[0])
        itself = np.broadcast_to(np.arange(OWN[1]), OWN)
        origin = np.where(detected, generator.integers(0, OWN[1], OWN), itself)
        chance = 2.0 * floor[:, None] * ((word + 0.5) * 2.0**-32)
        score = np.where(active, np.where(noise, chance, size), 0.0)
        found = np.empty(OWN)
        worth.values(active & ~detected, noise, size, word, floor, found)
        assert (found == cluster_values(score, origin, detected, floor)).all()

    @given(generators(), st.sampled_from([0.0, 0.3, 1.0]))
    def test_weights(self, drawn, part):
        generator, _ = drawn
        values = generator.lognormal(0, 3, OWN) * (generator.random(OWN) < part)
        nets = generator.integers(0, 5, OWN)
        of_nets = generator.dirichlet(np.ones(7), (OWN[0], 4)) * (generator.random((OWN[0], 4, 1)) < 0.8)
        weights = np.empty((OWN[0], 4, OWN[1]), np.int32)
        worth.weigh(of_nets, nets, values, weights)
        assert (weights == net_weights(of_nets, nets, values)).all()

    def test_a_value_that_is_not_finite_is_refused(self):
        nets, shares = np.zeros((1, 2), np.int64), np.ones((1, 1, 1))
        for bad in (np.nan, -1.0):
            with pytest.raises(ValueError, match="finite"):
                worth.weigh(shares, nets, np.array([[bad, 1.0]]), np.empty((1, 1, 2), np.int32))


class TestLargestOwners:
    @pytest.mark.parametrize(
        "amounts", [[0, 0], [1, 0], [7], [CAP // 2, CAP // 2], [5, 5, 5, 5], [1, 2, 4, 8, 16]]
    )
    def test_of_few(self, amounts):
        half = np.empty(1, np.int64)
        people.nakamoto(np.array([amounts]), half)
        assert (half == nakamoto(np.array([amounts]))).all()

    @given(generators())
    def test_of_many(self, drawn):
        generator, most = drawn
        amounts, half = gwei(generator, most // 400), np.empty(SHAPE[0], np.int64)
        amounts[0] = generator.pareto(1.1, SHAPE[1]) * 1e9
        people.nakamoto(amounts, half)
        assert (half == nakamoto(amounts)).all()


@given(generators(), st.integers(1, SHAPE[1]))
def test_terms_of_concentration(drawn, agents):
    generator, most = drawn
    amounts = gwei(generator, most // 400)[:, :agents]
    amounts[0] = 0
    terms, total = np.empty(amounts.shape), amounts.sum(axis=1)
    people.squared_shares(amounts, total, terms)
    assert (terms.sum(axis=1) == hhi(amounts)).all()
    people.gini_terms(np.sort(amounts, axis=1), terms)
    assert (gini_of_sums(terms.sum(axis=1), total, agents) == gini(amounts)).all()


@given(generators())
def test_picks_above_nothing(drawn):
    generator, most = drawn
    where, amounts = generator.permutation(SHAPE[0] * SHAPE[1])[:90], gwei(generator, most, 90)
    held = gwei(generator, most)
    positive, cut = Picks(where, amounts).where_positive(), Picks(where, amounts).cut_to(held)
    for some, wanted in ((positive, amounts), (cut, np.minimum(amounts, held.ravel()[where]))):
        assert (some.where == where[wanted > 0]).all()
        assert (some.amounts == wanted[wanted > 0]).all()
