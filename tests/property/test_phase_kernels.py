"""Kernels of the phases against their plain references, integer for integer, up to the cap of 10^18 gwei."""

from __future__ import annotations

import itertools
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.fees import SplitRule
from sim import draws
from sim.draws import Decision
from sim.kernels import holders as holder_kernels
from sim.kernels import popularity
from sim.kernels import users as user_kernels
from sim.phases import billing, demand_reference, holders
from sim.rates import PAYEES, Rates
from sim.world import Layout
from tests.property.kernel_arrays import CAP, LAYOUT, RUNS, SHAPE, generators, gwei

SEED = 0x1234_5678_9ABC_DEF0
COUNTS = st.sampled_from([70, user_kernels.TILE + 76])
"""Users of a run: fewer and more than a tile has."""


class TestDraws:
    @given(st.floats(0, 1), st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5))
    def test_a_threshold_decides_as_the_uniform_does(self, chance, words):
        edge = int(draws.below(np.array(chance)))
        near = [min(max(edge + d, 0), 2**32 - 1) for d in (-2, -1, 0, 1)]
        words = np.array([*words, *near, 0, 2**32 - 1], np.uint32)
        uniform = (words.astype(np.float64) + 0.5) * 2.0**-32
        assert ((uniform < chance) == (words < draws.below(np.array(chance)))).all()

    def test_normals_are_those_of_the_standard_library(self):
        words = np.random.default_rng(5).integers(0, 2**32, 20_000)
        edges = [0, 1, 2**32 - 1, 2**31, int(0.075 * 2**32), int(0.925 * 2**32)]
        u = (np.concatenate([words, edges]) + 0.5) * 2.0**-32
        u = np.concatenate([u, [0.075, 0.925, 0.5 - 0.425, 0.5 + 0.425]])
        inverse = NormalDist().inv_cdf
        assert (draws.inverse_normal(u) == np.array([inverse(x) for x in u.tolist()])).all()


class TestHolders:
    @given(generators(), st.floats(0, 1), st.floats(0, 1))
    def test_sales_of_airdrops(self, drawn, chance, rate):
        generator, most = drawn
        columns, groups = LAYOUT.slice("holders"), np.array([0, generator.integers(0, 91), 90])
        wallets = gwei(generator, most)
        airdropped = gwei(generator, most, (len(RUNS), 90))
        patience = generator.integers(0, 2**32, (len(RUNS), 90), dtype=np.uint32)
        limit, before = draws.below(np.array([0.0, chance, 1.0])), np.empty((len(RUNS), 2), np.int64)
        sells, after = patience < limit[:, None], np.empty((len(RUNS), 2), np.int64)
        for k, (first, last) in enumerate(itertools.pairwise(groups)):
            patience[:, first:last].sort(axis=1)
            sells[:, first:last] = patience[:, first:last] < limit[:, None]
            after[:, k] = sells[:, first:last].sum(axis=1)
            before[:, k] = generator.integers(0, after[:, k], endpoint=True)
            airdropped[:, first:last][np.arange(last - first) < before[:, k, None]] = 0
        sold, kept = holders.sell_airdrops(wallets[:, columns], airdropped, sells, rate)
        sales, totals = np.full((len(RUNS), 90), -1, np.int64), np.full(len(RUNS), -1, np.int64)
        holder_kernels.sell_airdrops(
            wallets, airdropped, sales, totals, groups, patience, before, limit, rate
        )
        assert (airdropped == kept).all()
        assert (sales == sold).all()
        assert (totals == sold.sum(axis=1)).all()
        assert (before == after).all()

    @given(generators(), st.integers(1, 31), st.integers(0, 99), st.floats(0, 1), st.floats(0, 1))
    def test_moves_towards_a_plan(self, drawn, every, day, stake_share, wrap_share):
        generator, most = drawn
        held = [gwei(generator, most) for _ in range(4)]
        names = ("holders", "contributors", "team")
        places = [holders.whose_day(day, every, LAYOUT.slice(n)) for n in names]
        acting = sum(stop - start for start, stop in places)
        where, amounts = (np.empty((6, len(RUNS) * acting), np.int64) for _ in range(2))
        counts = np.empty(6, np.int64)
        holder_kernels.follow_plans(
            *held, np.array(places), np.array([[stake_share, wrap_share]] * 3),
            np.array([True, False, True]), holders.DUST, where, amounts, counts,
        )  # fmt: skip
        moves = np.zeros((6, SHAPE[0] * SHAPE[1]), np.int64)
        for kind, count in enumerate(counts):
            moves[kind, where[kind, :count]] = amounts[kind, :count]
        moves = moves.reshape(6, *SHAPE)
        for place, sends_home in zip(places, (True, False, True), strict=True):
            own = np.s_[:, slice(*place)]
            step = holders.rebalance(
                *(account[own] for account in held), np.asarray(stake_share), np.asarray(wrap_share)
            )  # fmt: skip
            for kind, name in enumerate(("stake", "unstake", "wrap", "unwrap", "deposit", "idle")):
                wanted = getattr(step, name) if sends_home or name != "idle" else 0
                assert (moves[kind][own] == wanted).all(), name
                moves[kind][own] = 0
        assert not moves.any(), "a move of somebody whose day it is not"


class TestUsers:
    """The references see users alone, the kernels see them as columns of all agents."""

    def lay_out(self, count):
        """So many users, whose columns follow those of 90 holders."""
        self.count, self.of_users, self.shape = count, (len(RUNS), count), (len(RUNS), count + 100)
        self.columns = slice(90, 90 + count)

    def words(self, generator):
        return generator.integers(0, 2**32, self.of_users, dtype=np.uint32)

    def active(self, generator):
        """Nobody, some or all users of a run."""
        return generator.permutation([0, generator.integers(1, self.count), self.count])

    @given(generators(), COUNTS)
    def test_who_uses_the_service(self, drawn, count):
        generator, most = drawn
        self.lay_out(count)
        threshold, active = np.sort(self.words(generator), axis=1), self.active(generator)
        level = np.array([0, generator.integers(0, 2**32), 2**32], np.uint64)
        credit = gwei(generator, most, self.shape)
        now, gone = demand_reference.adopt(threshold, level, active)
        where, amounts = np.empty((2, gone.size), np.int64)
        left = user_kernels.adopt(threshold, level, active, credit, self.columns.start, where, amounts)
        refunded = np.zeros(credit.size, np.int64)
        refunded[where[:left]] = amounts[:left]
        assert (active == now).all()
        assert (
            refunded.reshape(self.shape)[:, self.columns] == np.where(gone, credit[:, self.columns], 0)
        ).all()

    @given(generators(), COUNTS, st.floats(0, 1))
    def test_credit_is_kept(self, drawn, count, refill_at):
        generator, most = drawn
        self.lay_out(count)
        active, paid = self.active(generator), self.words(generator)
        accounts = tuple(gwei(generator, most // 4, self.shape) for _ in range(4))
        level = np.array([0, 2**31, 2**32], np.uint64)
        targets, usd = gwei(generator, most, (2, len(RUNS))), generator.random(len(RUNS)) / 1000
        wanted = demand_reference.keep_credit(
            demand_reference.first_of(active, self.count), paid < level[:, None],
            tuple(a[:, self.columns] for a in accounts), targets, refill_at, usd,
        )  # fmt: skip
        ordered, lists = np.empty(len(RUNS), np.int64), np.empty((2, 2, paid.size), np.int64)
        counts = user_kernels.keep_credit(
            active, paid, accounts, self.columns.start, level, targets, refill_at, usd, ordered, *lists
        )
        for (where, amounts), listed, amount in zip(lists, counts, wanted, strict=True):
            found = np.zeros(accounts[0].size, np.int64)
            found[where[:listed]] = amounts[:listed]
            assert (found.reshape(self.shape)[:, self.columns] == amount).all()
        assert (ordered == wanted[0].sum(axis=1)).all()

    @given(generators(), COUNTS, st.floats(0, 1))
    def test_what_users_ask_for(self, drawn, count, spread):
        generator, most = drawn
        self.lay_out(count)
        active, paid, bits = self.active(generator), self.words(generator), 5
        kinds = generator.integers(0, 3, self.of_users).astype(np.int16)
        credit, level = gwei(generator, most, self.shape), np.array([0, 2**31, 2**32], np.uint64)
        access = gwei(generator, most // 10, (len(RUNS),))
        mean_in, mean_out = generator.random(len(RUNS)) * 1e6, generator.random(len(RUNS)) * 1e5
        price = mean_in * 1e8 + mean_out * 4e8
        table = generator.integers(0, 6, (len(RUNS), 3 << bits)).astype(np.int8)
        fed, written = np.empty((2, *self.of_users), np.int64)
        owner, asked = np.empty(self.of_users, np.int32), np.empty((2, len(RUNS)), np.int64)
        user_kernels.ask(
            active, paid, kinds, credit, self.columns.start,
            *draws.key(SEED, Decision.USER_MODEL, RUNS, 3, "users"), spread, level, access, price, mean_in, mean_out,
            table, bits, fed, written, owner, asked,
        )  # fmt: skip
        u = draws.uniform(SEED, Decision.USER_VOLUME, RUNS, 3, "users", self.count)
        fee, uses = (
            np.where(paid < level[:, None], access[:, None], 0),
            demand_reference.first_of(active, self.count),
        )
        wanted = demand_reference.ask(
            uses, fee, credit[:, self.columns], 1.0 - spread + (2.0 * spread) * u, price, mean_in, mean_out
        )
        model = draws.words(SEED, Decision.USER_MODEL, RUNS, 3, "users", self.count) >> (32 - bits)
        assert (asked == np.stack([w.sum(axis=1) for w in wanted])).all()
        chosen = np.take_along_axis(table, (kinds.astype(np.int64) << bits) + model, axis=1)
        for found, by_user in ((fed, wanted[0]), (written, wanted[1]), (owner, chosen)):
            assert (found[uses] == by_user[uses]).all()


@given(generators(), st.integers(1, 5), st.integers(1, 4), st.floats(0, 2))
def test_the_table_of_choice(drawn, each, classes, zipf):
    generator, _ = drawn
    models = 6 * each
    order = generator.permuted(np.tile(np.arange(models), (len(RUNS), 1)), axis=1).astype(np.int32)
    offered = generator.random((len(RUNS), 6)) < 0.5
    offered[0] = False
    weights = demand_reference.zipf_weights(np.arange(models), zipf)
    found = popularity.cells_of(order, offered, each, weights, classes, 64)
    assert (found == demand_reference.cells_of(order, offered, each, zipf, classes, 64)).all()


class TestBills:
    def world(self, generator, most, tokens, count):
        layout = Layout.of(dict(LAYOUT.counts[:-2]) | {"users": count})
        users = layout.slice("users")
        shape, holdings = (len(RUNS), count), gwei(generator, most, (len(RUNS), layout.agents))
        active = generator.permutation([0, *generator.integers(1, count, 2, endpoint=True)])
        asked_in, asked_out = gwei(generator, tokens, shape), gwei(generator, tokens // 5, shape)
        uses = demand_reference.first_of(active, shape[1])
        total = np.stack([(asked * uses).sum(axis=1) for asked in (asked_in, asked_out)])
        served = total * np.array([1.0, 0.7, 0.0])
        traits = SimpleNamespace(
            paid=generator.integers(0, 2**32, shape, dtype=np.uint32),
            query_class=generator.integers(0, 3, shape).astype(np.int16),
        )
        usage = SimpleNamespace(
            users=traits, active_users=active, user_bills=np.empty(shape, np.int64),
            demand_in=asked_in, demand_out=asked_out, asked=total, class_pot=np.zeros((len(RUNS), 3)),
            model_owner=generator.integers(0, 6, shape).astype(np.int32),
            serving=SimpleNamespace(served_in=served[0], served_out=served[1]),
        )  # fmt: skip
        balances = {"*": holdings, "users": holdings[:, users]}
        return SimpleNamespace(
            usage=usage, layout=layout, count=len(RUNS), agent_balance=lambda _, who="*": balances[who]
        )

    @given(
        generators(), COUNTS, st.sampled_from([10, 10**6, 10**10]), st.sampled_from([0, 10**9, 5 * 10**13]),
        st.sampled_from([(0, 0), (700, 0), (10_000, 10_000), (1_000, 50)]), st.sampled_from([0, 7, 10**12]),
    )  # fmt: skip
    def test_bills_and_their_parts(self, drawn, count, tokens, rate, shares_bps, flat):
        generator, most = drawn
        world = self.world(generator, min(most, CAP // count), tokens, count)
        column = lambda value: np.full(len(RUNS), value, np.int64)  # noqa: E731
        rates = Rates(
            sold=column(1) > 0, input=column(rate) + 123_456, output=column(rate), access=column(rate // 7),
            paid_level=np.array([0, 2**31, 2**32], np.uint64), usd_per_1m=column(0) * 1.0,
        )  # fmt: skip
        rule = SplitRule(
            platform_bps=column(shares_bps[0]), platform_flat=column(flat), burn_bps=column(shares_bps[1]),
            payees=PAYEES, weights=generator.integers(1, 100_000, (len(RUNS), 3)),
        )  # fmt: skip
        wanted, found = billing.bill(world, rates, rule), billing.bill_fast(world, rates, rule)
        for name in ("bills", "count", "fees", "platform", "burn", "stakers", "by_builder", "by_class"):
            assert (getattr(found, name) == getattr(wanted, name)).all(), name


def test_a_draw_needs_a_class_that_is_registered():
    with pytest.raises(KeyError, match="nobody"):
        draws.key(SEED, Decision.HOLDER_SELL, RUNS, 0, "nobody")
