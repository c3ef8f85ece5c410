"""Kernels of the ledger, the bridge and the record against numpy, integer for integer, up to the cap."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.apportion import apportion_floor
from models.inequality import nakamoto
from sim.kernels import moves, people, rewards
from sim.kernels import moves_of_few as few
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
    assert few.survey(some.where, some.amounts, class_of, -1, of_some, runs_of_some) == found
    assert (of_some == by_class).all()
    assert (runs_of_some == per_run).all()
    for only, sums_ in enumerate(by_class):
        alone = moves.SOMETHING if sums_.any() else moves.NOTHING
        wanted = moves.OUTSIDE if np.delete(by_class, only, axis=0).any() else alone
        of_some[:] = 0
        assert few.survey(some.where, some.amounts, class_of, only, of_some, runs_of_some) == wanted


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
    assert few.survey(where, amount.ravel(), class_of, -1, by_class, per_run) == found
    refused, held, rest = found > moves.SOMETHING, np.full((1, 2, 3), 2**62), np.zeros((2, 3), np.int64)
    got, short = moves.debit(
        held, 0, 0, 1, amount, rest[0], rest[:, :1].copy(), rest, False, bounds, by_class, per_run
    )
    assert got == found
    assert (held[0, 0] == 2**62 - amount[0]).all(), "the run before the one at fault has paid"
    assert (held[0, 1] == (2**62 if refused else 2**62 - amount[1])).all(), "the one at fault has not"
    assert short == -1


@given(SEEDS)
def test_both_sides_of_a_move_are_numpy(seed):
    draw = np.random.default_rng(seed)
    runs, agents = shape_of(draw)
    start, step = int(draw.integers(0, agents)), int(draw.integers(1, 4))
    columns = np.arange(start, agents, step)[: draw.integers(1, agents + 1)]
    holdings, book = draw.integers(0, CAP // 10, (3, runs, agents)), draw.integers(0, CAP, (runs, agents))
    weights = draw.integers(1, 2**63 - 1, agents) | 1
    amount = np.minimum(sparse(draw, (runs, columns.size)), holdings[1][:, columns])
    checksum, change = np.zeros((runs, 3), np.int64), np.zeros((runs, agents), np.int64)
    change[:, columns] = amount
    bounds, by_class, per_run = (
        np.array([0, columns.size]),
        np.empty((1, runs), np.int64),
        np.empty(runs, np.int64),
    )
    weighted = (amount * weights[columns]).sum(axis=1)
    where = (np.arange(runs)[:, None] * agents + columns).ravel()
    lists = (where, amount.ravel(), weights)

    def debit(*to):
        found, short = moves.debit(to[0], 1, start, step, amount, weights, *to[1:], bounds, by_class, per_run)
        assert found == (moves.SOMETHING if amount.any() else moves.NOTHING)
        assert (by_class[0] == amount.sum(axis=1)).all()
        assert (per_run == by_class[0]).all()
        return short

    sides = (
        (-1, debit),
        (-1, lambda held, *to: few.debit(held, 1, *lists, *to)),
        (1, lambda held, *to: moves.credit(held, 1, start, step, amount, weights, *to) or -1),
        (1, lambda held, *to: few.credit(held, 1, *lists, *to)),
    )
    for (sign, side), is_booked in product(sides, (False, True)):
        held, sums_, booked = holdings.copy(), checksum.copy(), book.copy()
        assert side(held, sums_, booked, is_booked) == -1
        assert (held[1] == holdings[1] + sign * change).all()
        assert (held[[0, 2]] == holdings[[0, 2]]).all()
        assert (sums_[:, 1] == sign * weighted).all()
        assert not sums_[:, [0, 2]].any()
        assert (booked == book + is_booked * sign * change).all()


def test_the_first_run_that_is_short_is_told():
    holdings, weights = np.full((1, 3, 70), 5), np.ones(70, np.int64)
    amount = np.zeros((3, 70), np.int64)
    amount[1, 69], amount[2, 0] = 6, 9
    rest = (np.zeros((3, 1), np.int64), np.zeros((3, 70), np.int64), False)
    sums_ = (np.array([0, 70]), np.empty((1, 3), np.int64), np.empty(3, np.int64))
    assert moves.debit(holdings.copy(), 0, 0, 1, amount, weights, *rest, *sums_) == (moves.SOMETHING, 1)
    some = Picks.of(amount[::-1])
    assert few.debit(holdings.copy(), 0, some.where, some.amounts, weights, *rest) == 0
    assert moves.debit_runs(np.array([[4, 9], [4, 2], [4, 1]]), 1, np.array([9, 3, 2])) == 1


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
    owed = sparse(draw, (runs, agents), largest)
    bounds = np.unique(np.r_[0, draw.integers(0, agents + 1, 3), agents])
    columns = np.stack((bounds[:-1], draw.integers(bounds[:-1], bounds[1:], endpoint=True)), axis=1)
    for (_, last), stop in zip(columns, bounds[1:], strict=True):
        stakes[:, last:stop] = 0
    weighted, by_class = draw.integers(0, CAP, runs), np.zeros((bounds.size - 1, runs), np.int64)
    parts, _ = apportion_floor(due, stakes)
    grown, earned, sums_ = stakes.copy(), income.copy(), weighted.copy()
    assert rewards.compound(due, grown, weights, sums_, columns, by_class)
    assert (grown == stakes + parts).all()
    principal = stakes - owed
    for _ in range(2):
        rewards.bring_forward(grown, principal, earned)
        assert (earned == income + owed + parts).all()
        assert (principal == grown).all()
    assert (sums_ == weighted + (parts * weights).sum(axis=1)).all()
    assert (np.add.reduceat(parts, bounds[:-1], axis=1) == by_class.T).all()


def test_a_stake_below_nothing_is_refused():
    stakes = np.array([[3, 4], [5, -1]])
    arguments = (np.ones(2, np.int64), np.zeros(2, np.int64), np.array([[0, 2]]))
    assert not rewards.compound(np.array([9, 9]), stakes, *arguments, np.zeros((1, 2), np.int64))


@given(SEEDS, st.sampled_from(["even", "sparse", "heavy"]))
def test_what_people_own_is_numpy(seed, kind):
    draw = np.random.default_rng(seed)
    runs, agents = shape_of(draw)
    holdings, earned = sparse(draw, (9, runs, agents), CAP // 3000), sparse(draw, (runs, agents), CAP // 3000)
    out, some = np.empty_like(earned), np.empty_like(earned[runs // 2 :])
    people.owned(holdings, earned, 0, out)
    assert (out == holdings.sum(axis=0) + earned).all()
    people.owned(holdings, earned, runs // 2, some)
    assert (some == out[runs // 2 :]).all()
    starts = np.unique([0, *draw.integers(0, agents, 3)])
    by_class = np.empty((runs, starts.size), np.int64)
    people.by_class(out, starts, by_class)
    assert (by_class == np.add.reduceat(out, starts, axis=1)).all()
    groups, by_group = draw.integers(0, 10, (runs, agents)).astype(np.uint8), np.full((runs, 10), -1)
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
