"""Market: nothing is created, the pool never loses, and the price is one price."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.market import clear_batch, clearing_price, depth_usd, pool_from_depth, slippage, swap

CAP = 10**18
POOLS = st.one_of(st.integers(1, 1000), st.integers(1, CAP), st.just(CAP))
ORDERS = st.one_of(st.just(0), st.integers(0, 1000), st.integers(0, CAP))
FEES = st.sampled_from([0, 1, 30, 100, 5000, 9999])


@settings(max_examples=400, deadline=None)
@given(POOLS, POOLS, ORDERS, ORDERS, FEES)
def test_a_batch_conserves_both_sides_and_never_lowers_the_product(x, y, sell, buy, fee):
    day = clear_batch(np.array([x]), np.array([y]), np.array([sell]), np.array([buy]), fee)
    tokens, usd = int(day.tokens_to_buyers[0]), int(day.usd_to_sellers[0])
    after_x, after_y = int(day.x[0]), int(day.y[0])
    assert x + sell == after_x + tokens
    assert y + buy == after_y + usd
    assert min(tokens, usd) >= 0
    assert min(after_x, after_y) >= 1
    assert after_x * after_y >= x * y


@settings(max_examples=300, deadline=None)
@given(POOLS, POOLS, ORDERS, ORDERS, FEES)
def test_everybody_pays_the_same_price_to_one_unit(x, y, sell, buy, fee):
    price = clearing_price(x, y, sell, buy, fee)
    day = clear_batch(np.array([x]), np.array([y]), np.array([sell]), np.array([buy]), fee)
    assert 0 <= buy / price - int(day.tokens_to_buyers[0]) < 1
    assert 0 <= sell * price - int(day.usd_to_sellers[0]) < 1


@settings(max_examples=300, deadline=None)
@given(POOLS, POOLS, ORDERS, ORDERS, FEES)
def test_the_price_solves_the_pool_equation(x, y, sell, buy, fee):
    """Before any floor, what the pool gives for the net order is worth the net order."""
    g = Fraction(10_000 - fee, 10_000)
    price = clearing_price(x, y, sell, buy, fee)
    net_usd = buy - sell * price
    spot = Fraction(y, x)
    if net_usd > 0 and price >= spot / g:
        assert x * g * net_usd / (y + g * net_usd) * price == net_usd
    elif net_usd < 0 and price <= spot * g:
        net = -net_usd / price
        assert y * g * net / (x + g * net) == net * price
    else:
        assert net_usd == 0 or sell == buy == 0
        assert spot * g <= price <= spot / g


@settings(max_examples=200, deadline=None)
@given(POOLS, POOLS, st.integers(1, CAP), FEES)
def test_a_lone_order_is_filled_like_a_swap(x, y, order, fee):
    """The batch price is exact and the swap floors its net input: at most one unit of input apart."""
    none = np.array([0])
    sold = clear_batch(np.array([x]), np.array([y]), np.array([order]), none, fee)
    paid = swap(x, y, order, fee)
    assert 0 <= int(sold.usd_to_sellers[0]) - paid <= 1 + y // x
    bought = clear_batch(np.array([x]), np.array([y]), none, np.array([order]), fee)
    assert 0 <= int(bought.tokens_to_buyers[0]) - swap(y, x, order, fee) <= 1 + x // y


@settings(max_examples=200, deadline=None)
@given(POOLS, POOLS, st.integers(0, CAP), FEES)
def test_a_swap_never_lowers_the_product(x, y, amount, fee):
    out = swap(x, y, amount, fee)
    assert 0 <= out < y
    assert (x + amount) * (y - out) >= x * y


@settings(max_examples=100, deadline=None)
@given(st.integers(10**9, 10**13), st.floats(1e-3, 1e3), st.sampled_from([0, 30, 100]))
def test_the_calibrated_pool_moves_by_two_percent(depth, price, fee):
    x, y = pool_from_depth(depth, price, fee_bps=fee)
    sold = depth / 10**6 / price * 10**9 * (1 - fee / 10_000)
    assert abs((x / (x + sold)) ** 2 - 0.98) < 1e-9
    assert abs(y / x * 1000 / price - 1) < 1e-6
    assert abs(float(depth_usd(np.array([y]), fee_bps=fee)[0]) / depth - 1) < 1e-6


def test_slippage_is_what_the_swap_costs():
    x, y = 13 * 10**15, 7_800_000 * 10**6
    tokens = 100_000 * 10**6 * x // y
    received = swap(x, y, tokens, 30)
    assert (
        abs(float(slippage(np.array([y]), 100_000 * 10**6, 30)[0]) - (1 - received / (100_000 * 10**6)))
        < 1e-9
    )


def test_runs_do_not_touch_each_other():
    columns = [
        np.array([10**15, 2 * 10**15]),
        np.array([10**12, 10**12]),
        np.array([10**13, 0]),
        np.array([0, 10**9]),
    ]
    together = clear_batch(*columns, fee_bps=30)
    for run in range(2):
        alone = clear_batch(*(column[run : run + 1] for column in columns), fee_bps=30)
        assert alone.price_usd[0] == together.price_usd[run]
        assert alone.x[0] == together.x[run]
