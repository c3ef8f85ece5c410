"""Kernels of the ledger, the bridge and the record against numpy, integer for integer, up to the cap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.apportion import apportion_floor
from models.inequality import nakamoto
from sim.kernels import moves, people, rewards, sums
from sim.picks import Picks

CAP = 10**18
SEEDS = st.integers(0, 2**32 - 1)


def sparse(draw, shape, largest=10**15):
    """Amounts of which many, in whole stretches, are 0."""
    amount = draw.integers(1, largest, shape) * (draw.random(shape) < draw.choice([0.01, 0.3, 1]))
    first = draw.integers(0, shape[-1] + 1)
    amount[..., first : first + draw.integers(0, 200)] = 0
    return amount


def shape_of(draw):
    return int(draw.integers(1, 4)), int(draw.integers(1, 300))


@given(SEEDS)
def test_survey_is_numpy(seed):
    draw = np.random.default_rng(seed)
    runs, agents = shape_of(draw)
    amount = sparse(draw, (runs, agents), CAP // 300)
    bounds = np.unique(np.r_[0, draw.integers(0, agents + 1, 3), agents])
    by_class, per_run = np.empty((bounds.size - 1, runs), np.int64), np.empty(runs, np.int64)
    found = moves.survey(amount, bounds, by_class, per_run)
    assert found == (moves.SOMETHING if amount.any() else moves.NOTHING)
    assert (np.add.reduceat(amount, bounds[:-1], axis=1) == by_class.T).all()
    assert (per_run == amount.sum(axis=1)).all()
    some, of_some, runs_of_some = Picks.of(amount), np.zeros_like(by_class), np.empty_like(per_run)
    class_of = np.repeat(np.arange(bounds.size - 1), np.diff(bounds))
    assert moves.survey_some(some.where, some.amounts, class_of, of_some, runs_of_some) == found
    assert (of_some == by_class).all()
    assert (runs_of_some == per_run).all()


@pytest.mark.parametrize("classes", [(0, 3), (0, 1, 3), (0, 2, 3)])
@pytest.mark.parametrize(
    ("row", "found"),
    [
        ([CAP, CAP, CAP], moves.SOMETHING), ([2**62, 2**61, 2**61 - 1], moves.SOMETHING),
        ([2**62, 2**61, 2**61], moves.TOO_MUCH), ([2**63 - 1, 1, 0], moves.TOO_MUCH),
        ([2**63 - 1] * 3, moves.TOO_MUCH), ([0, -1, 5], moves.NEGATIVE), ([0, 0, 0], moves.NOTHING),
    ],
)  # fmt: skip
def test_no_sum_wraps_around(classes, row, found):
    amount, bounds = np.array([[1, 1, 1], row], np.int64), np.array(classes, np.int64)
    if found == moves.NOTHING:
        amount[0] = 0
    by_class, per_run = np.zeros((bounds.size - 1, 2), np.int64), np.empty(2, np.int64)
    assert moves.survey(amount, bounds, by_class, per_run) == found
    class_of = np.repeat(np.arange(bounds.size - 1), np.diff(bounds))
    where = np.arange(6)
    by_class[:] = 0
    assert moves.survey_some(where, amount.ravel(), class_of, by_class, per_run) == found


@given(SEEDS)
def test_both_sides_of_a_move_are_numpy(seed):
    draw = np.random.default_rng(seed)
    runs, agents = shape_of(draw)
    start, step = int(draw.integers(0, agents)), int(draw.integers(1, 4))
    columns = np.arange(start, agents, step)[: draw.integers(1, agents + 1)]
    holdings, income = draw.integers(0, CAP // 10, (3, runs, agents)), draw.integers(0, CAP, (runs, agents))
    weights = draw.integers(1, 2**63 - 1, agents) | 1
    amount = np.minimum(sparse(draw, (runs, columns.size)), holdings[1][:, columns])
    checksum = np.zeros((runs, 3), np.int64)
    paid, received, earned = holdings.copy(), holdings.copy(), income.copy()
    paid[1][:, columns] -= amount
    received[1][:, columns] += amount
    earned[:, columns] += amount
    weighted = (amount * weights[columns]).sum(axis=1)
    where = (np.arange(runs)[:, None] * agents + columns).ravel()
    lists = (where, amount.ravel(), weights)
    for debit in (
        lambda held, sums_: moves.debit(held, 1, start, step, amount, weights, sums_),
        lambda held, sums_: moves.debit_some(held, 1, *lists, sums_),
    ):
        held, sums_ = holdings.copy(), checksum.copy()
        assert debit(held, sums_) == -1
        assert (held == paid).all()
        assert (sums_[:, 1] == -weighted).all()
        assert not sums_[:, [0, 2]].any()
    for is_income in (False, True):
        for credit in (
            lambda *to, flag: moves.credit(to[0], 1, start, step, amount, weights, to[1], to[2], flag),
            lambda *to, flag: moves.credit_some(to[0], 1, *lists, to[1], to[2], flag),
        ):
            held, sums_, got = holdings.copy(), checksum.copy(), income.copy()
            credit(held, sums_, got, flag=is_income)
            assert (held == received).all()
            assert (sums_[:, 1] == weighted).all()
            assert (got == (earned if is_income else income)).all()


def test_the_first_run_that_is_short_is_told():
    holdings, weights = np.full((1, 3, 70), 5), np.ones(70, np.int64)
    amount = np.zeros((3, 70), np.int64)
    amount[1, 69], amount[2, 0] = 6, 9
    assert moves.debit(holdings.copy(), 0, 0, 1, amount, weights, np.zeros((3, 1), np.int64)) == 1
    some = Picks.of(amount[::-1])
    assert (
        moves.debit_some(holdings.copy(), 0, some.where, some.amounts, weights, np.zeros((3, 1), np.int64))
        == 0
    )
    assert moves.debit_runs(np.array([[4, 9], [4, 2], [4, 1]]), 1, np.array([9, 3, 2])) == 1


@given(
    hnp.arrays(
        np.int64, st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 150)),
        elements=st.one_of(st.just(0), st.integers(-(2**40), 2**55)), fill=st.just(0),
    )
)  # fmt: skip
def test_audit_is_numpy(holdings):
    shape, agents = (holdings.shape[1], holdings.shape[0]), holdings.shape[2]
    weights = np.random.default_rng(agents).integers(1, 2**63 - 1, agents) | 1
    totals, least, weighted = (np.empty(shape, np.int64) for _ in range(3))
    sums.audit(holdings, weights, totals, least, weighted)
    assert (totals == holdings.sum(axis=2).T).all()
    assert (least == holdings.min(axis=2).T).all()
    assert (weighted == np.einsum("kra,a->rk", holdings, weights)).all()
    rows = np.empty(shape[0], np.int64)
    sums.rows(holdings[0], rows)
    assert (rows == holdings[0].sum(axis=1)).all()


@given(SEEDS)
def test_orders_are_cut_to_what_is_held(seed):
    draw = np.random.default_rng(seed)
    shape = shape_of(draw)
    orders, held = sparse(draw, shape), sparse(draw, shape)
    wanted = np.minimum(orders, held)
    some = Picks.of(orders).cut_to(held)
    start, stop = sorted(draw.integers(0, shape[1] + 1, 2).tolist())
    own = Picks.of_columns(held, slice(start, stop))
    assert (own.dense(*shape)[:, start:stop] == held[:, start:stop]).all()
    assert own.amounts.sum() == held[:, start:stop].sum()
    assert some.amounts.min(initial=1) > 0
    assert (np.diff(some.where) > 0).all()
    assert (some.dense(*shape) == wanted).all()
    assert (some.per_run(*shape) == wanted.sum(axis=1)).all()
    assert (some.count_per_run(*shape) == (wanted > 0).sum(axis=1)).all()
    again = Picks.of(wanted)
    assert (again.where == some.where).all()
    assert (again.amounts == some.amounts).all()


@given(
    SEEDS, st.sampled_from([3, 10**9, 10**15, CAP // 300]), st.sampled_from([5, 10**12, rewards.CLOSE - 1])
)
@example(0, CAP // 300, rewards.CLOSE - 1)
def test_compounding_adds_the_floors(seed, largest, most):
    draw = np.random.default_rng(seed)
    runs, agents = shape_of(draw)
    stakes, due = sparse(draw, (runs, agents), largest), draw.integers(0, most, runs, endpoint=True)
    income, weights = draw.integers(0, CAP, (runs, agents)), draw.integers(1, 2**63 - 1, agents) | 1
    bounds = np.unique(np.r_[0, draw.integers(0, agents + 1, 3), agents])
    weighted, by_class = draw.integers(0, CAP, runs), np.zeros((bounds.size - 1, runs), np.int64)
    parts, _ = apportion_floor(due, stakes)
    grown, earned, sums_ = stakes.copy(), income.copy(), weighted.copy()
    assert rewards.compound(due, grown, weights, sums_, earned, bounds, by_class)
    assert (grown == stakes + parts).all()
    assert (earned == income + parts).all()
    assert (sums_ == weighted + (parts * weights).sum(axis=1)).all()
    assert (np.add.reduceat(parts, bounds[:-1], axis=1) == by_class.T).all()


def test_a_stake_below_nothing_is_refused():
    stakes = np.array([[3, 4], [5, -1]])
    arguments = (np.ones(2, np.int64), np.zeros(2, np.int64), np.zeros((2, 2), np.int64), np.array([0, 2]))
    assert not rewards.compound(np.array([9, 9]), stakes, *arguments, np.zeros((1, 2), np.int64))


@given(SEEDS, st.sampled_from(["even", "sparse", "heavy"]))
def test_what_people_own_is_numpy(seed, kind):
    draw = np.random.default_rng(seed)
    runs, agents = shape_of(draw)
    holdings, earned = sparse(draw, (9, runs, agents), CAP // 3000), sparse(draw, (runs, agents), CAP // 3000)
    out = np.empty_like(earned)
    people.owned(holdings, earned, out)
    assert (out == holdings.sum(axis=0) + earned).all()
    groups, by_group = draw.integers(0, 10, (runs, agents)).astype(np.uint8), np.zeros((runs, 10), np.int64)
    people.by_group(out, groups, by_group)
    for k in range(10):
        assert (by_group[:, k] == np.where(groups == k, out, 0).sum(axis=1)).all()
    amounts = {
        "even": np.full((runs, agents), int(draw.integers(0, 3))), "sparse": out,
        "heavy": np.floor(draw.lognormal(9, 4, (runs, agents))).astype(np.int64),
    }[kind]  # fmt: skip
    half = np.empty(runs, np.int64)
    people.nakamoto(amounts, half)
    assert (half == nakamoto(amounts)).all()
