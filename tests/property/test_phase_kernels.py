"""Kernels of the phases against their plain references, integer for integer, up to the cap of 10^18 gwei."""

from __future__ import annotations

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
from sim.kernels import orders as order_kernels
from sim.kernels import popularity
from sim.kernels import users as user_kernels
from sim.kernels.tiles import EVERYBODY_FROM
from sim.phases import billing, demand_reference, holders, market
from sim.rates import PAYEES, Rates
from tests.property.kernel_arrays import CAP, LAYOUT, RUNS, SHAPE, generators, gwei

SEED = 0x1234_5678_9ABC_DEF0


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
        columns = LAYOUT.slice("holders")
        wallets = gwei(generator, most)
        airdropped = gwei(generator, most, (len(RUNS), 90))
        hazard = np.array([0.0, chance, 1.0])
        words = draws.words(SEED, Decision.HOLDER_SALE, RUNS, 17, "holders", 90)
        sold, kept = holders.sell_airdrops(wallets[:, columns], airdropped, words, hazard, rate)
        sales, totals = np.full((len(RUNS), 90), -1, np.int64), np.full(len(RUNS), -1, np.int64)
        key = draws.key(SEED, Decision.HOLDER_SALE, RUNS, 17, "holders")
        holder_kernels.sell_airdrops(
            wallets, airdropped, sales, totals, columns.start, *key, draws.below(hazard), rate
        )
        assert (airdropped == kept).all()
        assert (sales == sold).all()
        assert (totals == sold.sum(axis=1)).all()

    @given(generators(), st.integers(1, 31), st.integers(0, 99), st.floats(0, 1), st.floats(0, 1))
    def test_moves_towards_a_plan(self, drawn, every, day, stake_share, wrap_share):
        generator, most = drawn
        held, takes_part = [gwei(generator, most) for _ in range(4)], generator.random(SHAPE) < 0.5
        names = ("holders", "contributors", "team")
        places = [holders.whose_day(day, every, LAYOUT.slice(n)) for n in names]
        acting = sum(stop - start for start, stop in places)
        where, amounts = (np.empty((6, len(RUNS) * acting), np.int64) for _ in range(2))
        counts = np.empty(6, np.int64)
        holder_kernels.follow_plans(
            *held, takes_part, np.array(places), np.array([[stake_share, wrap_share]] * 3),
            np.array([True, False, True]), holders.DUST, where, amounts, counts,
        )  # fmt: skip
        moves = np.zeros((6, SHAPE[0] * SHAPE[1]), np.int64)
        for kind, count in enumerate(counts):
            moves[kind, where[kind, :count]] = amounts[kind, :count]
        moves = moves.reshape(6, *SHAPE)
        for place, sends_home in zip(places, (True, False, True), strict=True):
            own = np.s_[:, slice(*place)]
            step = holders.rebalance(
                *(account[own] for account in held),
                np.where(takes_part[own], stake_share, 0.0), np.where(takes_part[own], wrap_share, 0.0),
            )  # fmt: skip
            for kind, name in enumerate(("stake", "unstake", "wrap", "unwrap", "deposit", "idle")):
                wanted = getattr(step, name) if sends_home or name != "idle" else 0
                assert (moves[kind][own] == wanted).all(), name
                moves[kind][own] = 0
        assert not moves.any(), "a move of somebody whose day it is not"


class TestOrders:
    @given(generators(), st.booleans())
    def test_orders_of_the_day(self, drawn, nobody_buys):
        generator, most = drawn
        most = min(most, CAP // LAYOUT.agents)  # all wallets together hold the cap at most
        sells, wallets, buys = (gwei(generator, most) for _ in range(3))
        buys[:, 64:] *= not nobody_buys
        wanted = market.orders_of_the_day(sells.copy(), wallets, buys.copy(), LAYOUT.starts)
        sold, spent = (np.empty((len(RUNS), len(LAYOUT.counts)), np.int64) for _ in range(2))
        sales, purchases = (np.empty((buys.size, 2), np.int64) for _ in range(2))
        selling, buying = order_kernels.take_market_orders(
            sells, wallets, buys, LAYOUT.bounds, sold, spent, sales, purchases
        )
        assert not sells.any()
        assert not buys.any()
        assert (sold == wanted.sold).all()
        assert (spent == wanted.spent).all()
        for found, picks in ((sales[:selling], wanted.sells), (purchases[:buying], wanted.buys)):
            assert found[:, 0].tolist() == picks.where.tolist()
            assert found[:, 1].tolist() == picks.amounts.tolist()

    @given(generators(), st.booleans())
    def test_sales_of_what_arrived(self, drawn, arrived):
        generator, most = drawn
        columns = LAYOUT.slice("contributors")
        wallets, sells = gwei(generator, most), np.zeros(SHAPE, np.int64)
        wallets[:, columns] *= arrived
        wanted = sells.copy()
        wanted[:, columns] = wallets[:, columns]
        order_kernels.sell_arrived(wallets, sells, columns.start, columns.stop)
        assert (sells == wanted).all()


class TestUsers:
    """The references see users alone, the kernels see them as columns of all agents."""

    USERS = LAYOUT.slice("users")
    OF_USERS = (len(RUNS), 70)

    def words(self, generator):
        return generator.integers(0, 2**32, self.OF_USERS, dtype=np.uint32)

    def lists(self, active):
        return demand_reference.list_users(active, EVERYBODY_FROM)

    def active(self, generator):
        """Few, some or nearly all users of a run."""
        return generator.random(self.OF_USERS) < generator.permutation([0.05, 0.5, 0.9])[:, None]

    @given(generators())
    def test_who_uses_the_service(self, drawn):
        generator, most = drawn
        threshold, active = self.words(generator), self.active(generator)
        level = np.array([0, generator.integers(0, 2**32), 2**32], np.uint64)
        credit = gwei(generator, most)
        now, gone = demand_reference.adopt(threshold, level, active)
        where, amounts = np.empty(active.size, np.int64), np.empty(active.size, np.int64)
        users, (lengths, counts) = np.zeros(self.OF_USERS, np.uint32), np.empty((2, len(RUNS)), np.int64)
        left = user_kernels.adopt(
            threshold, level, active, credit, self.USERS.start, users, lengths, counts, where, amounts
        )
        refunded = np.zeros(credit.size, np.int64)
        refunded[where[:left]] = amounts[:left]
        assert (active == now).all()
        assert (counts == now.sum(axis=1)).all()
        wanted, wanted_lengths = self.lists(now)
        assert (lengths == wanted_lengths).all()
        for run, length in enumerate(lengths):
            assert (users[run, :length] == wanted[run, :length]).all()
        assert (refunded.reshape(SHAPE)[:, self.USERS] == np.where(gone, credit[:, self.USERS], 0)).all()

    @given(generators(), st.floats(0, 1))
    def test_credit_is_kept(self, drawn, refill_at):
        generator, most = drawn
        active, paid = self.active(generator), self.words(generator)
        accounts = tuple(gwei(generator, most // 4) for _ in range(4))
        level = np.array([0, 2**31, 2**32], np.uint64)
        targets, usd = gwei(generator, most, (2, len(RUNS))), generator.random(len(RUNS)) / 1000
        wanted, lacking = demand_reference.keep_credit(
            active, paid < level[:, None], tuple(a[:, self.USERS] for a in accounts), targets, refill_at, usd
        )
        orders, ordered = np.zeros(SHAPE, np.int64), np.empty(len(RUNS), np.int64)
        where, missing = np.empty(active.size, np.int64), np.empty(active.size, np.int64)
        count = user_kernels.keep_credit(
            active,
            paid,
            accounts,
            self.USERS.start,
            level,
            targets,
            refill_at,
            usd,
            orders,
            ordered,
            where,
            missing,
        )
        found = np.zeros(orders.size, np.int64)
        found[where[:count]] = missing[:count]
        assert (orders[:, self.USERS] == wanted).all()
        assert (ordered == wanted.sum(axis=1)).all()
        assert (found.reshape(SHAPE)[:, self.USERS] == lacking).all()

    @given(generators(), st.floats(0, 1))
    def test_what_users_ask_for(self, drawn, spread):
        generator, most = drawn
        active, paid, bits = self.active(generator), self.words(generator), 5
        kinds = generator.integers(0, 3, self.OF_USERS).astype(np.int16)
        credit, level = gwei(generator, most), np.array([0, 2**31, 2**32], np.uint64)
        access = gwei(generator, most // 10, (len(RUNS),))
        mean_in, mean_out = generator.random(len(RUNS)) * 1e6, generator.random(len(RUNS)) * 1e5
        price = mean_in * 1e8 + mean_out * 4e8
        table = generator.integers(0, 6, (len(RUNS), 3 << bits)).astype(np.int8)
        fed, written = np.empty(self.OF_USERS, np.int64), np.empty(self.OF_USERS, np.int64)
        owner, asked = np.empty(self.OF_USERS, np.int32), np.empty((2, len(RUNS)), np.int64)
        users, lengths = self.lists(active)
        user_kernels.ask(
            users, lengths, active, paid, kinds, credit, self.USERS.start,
            *draws.key(SEED, Decision.USER_MODEL, RUNS, 3, "users"), spread, level, access, price, mean_in, mean_out,
            table, bits, fed, written, owner, asked,
        )  # fmt: skip
        u = draws.uniform(SEED, Decision.USER_VOLUME, RUNS, 3, "users", 70)
        fee = np.where(paid < level[:, None], access[:, None], 0)
        wanted = demand_reference.ask(
            active, fee, credit[:, self.USERS], 1.0 - spread + (2.0 * spread) * u, price, mean_in, mean_out
        )
        model = draws.words(SEED, Decision.USER_MODEL, RUNS, 3, "users", 70) >> (32 - bits)
        assert (asked == np.stack([w.sum(axis=1) for w in wanted])).all()
        chosen = np.take_along_axis(table, (kinds.astype(np.int64) << bits) + model, axis=1)
        for run, length in enumerate(lengths):
            listed = users[run, :length]
            for found, by_user in ((fed, wanted[0]), (written, wanted[1]), (owner, chosen)):
                assert (found[run, :length] == by_user[run, listed]).all()

    @given(generators(), st.integers(1, 5), st.integers(1, 4), st.floats(0, 2))
    def test_the_table_of_choice(self, drawn, each, classes, zipf):
        generator, _ = drawn
        models = 6 * each
        order = generator.permuted(np.tile(np.arange(models), (len(RUNS), 1)), axis=1).astype(np.int32)
        offered = generator.random((len(RUNS), 6)) < 0.5
        offered[0] = False
        weights = demand_reference.zipf_weights(np.arange(models), zipf)
        found = popularity.cells_of(order, offered, each, weights, classes, 64)
        assert (found == demand_reference.cells_of(order, offered, each, zipf, classes, 64)).all()


class TestBills:
    def world(self, generator, most, tokens):
        users = LAYOUT.slice("users")
        holdings, shape = gwei(generator, most), (len(RUNS), 70)
        active = generator.random(shape) < np.array([[0.1], [0.5], [1.0]])
        user_list, listed = demand_reference.list_users(active, EVERYBODY_FROM)
        asked_in, asked_out = gwei(generator, tokens, shape), gwei(generator, tokens // 5, shape)
        counts = np.arange(shape[1]) < listed[:, None]
        total = np.stack([(asked * counts).sum(axis=1) for asked in (asked_in, asked_out)])
        served = total * np.array([1.0, 0.7, 0.0])
        traits = SimpleNamespace(
            paid=generator.integers(0, 2**32, shape, dtype=np.uint32),
            query_class=generator.integers(0, 3, shape).astype(np.int16),
        )
        usage = SimpleNamespace(
            users=traits, user_list=user_list, listed=listed, user_bills=np.empty(shape, np.int64),
            demand_in=asked_in, demand_out=asked_out, asked=total, class_pot=np.zeros((len(RUNS), 3)),
            model_owner=generator.integers(0, 6, shape).astype(np.int32),
            serving=SimpleNamespace(served_in=served[0], served_out=served[1]),
        )  # fmt: skip
        balances = {"*": holdings, "users": holdings[:, users]}
        return SimpleNamespace(
            usage=usage, layout=LAYOUT, count=len(RUNS), agent_balance=lambda _, who="*": balances[who]
        )

    @given(
        generators(), st.sampled_from([10, 10**6, 10**10]), st.sampled_from([0, 10**9, 5 * 10**13]),
        st.sampled_from([(0, 0), (700, 0), (10_000, 10_000), (1_000, 50)]), st.sampled_from([0, 7, 10**12]),
    )  # fmt: skip
    def test_bills_and_their_parts(self, drawn, tokens, rate, shares_bps, flat):
        generator, most = drawn
        world = self.world(generator, min(most, CAP // 70), tokens)
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
