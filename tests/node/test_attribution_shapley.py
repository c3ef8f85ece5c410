"""Shapley values of games whose values are known, what is refused, and exact Shapley by retraining."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from models.shapley import shapley_values


def by_orders(table: np.ndarray) -> np.ndarray:
    """The definition: mean gain over all orders of arrival."""
    players = int(table.shape[-1]).bit_length() - 1
    gains = np.zeros(players)
    orders = list(itertools.permutations(range(players)))
    for order in orders:
        there = 0
        for player in order:
            gains[player] += table[there | 1 << player] - table[there]
            there |= 1 << player
    return gains / len(orders)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            lambda s: float(0 in s and (1 in s or 2 in s)),
            [2 / 3, 1 / 6, 1 / 6],
        ),  # one left glove, two right ones
        (lambda s: float(len(s) == 3), [1 / 3] * 3),  # unanimity
        (
            lambda s: float(max((10 * (i + 1) for i in s), default=0)),
            [10 / 3, 25 / 3, 55 / 3],
        ),  # runway lengths
        (
            lambda s: float(bool({0, 1} & s)),
            [0.5, 0.5, 0.0],
        ),  # either of two copies does; the third is no use
    ],
)
def test_known_games(value, expected):
    table = np.array([value({i for i in range(3) if c >> i & 1}) for c in range(8)])
    assert shapley_values(table) == pytest.approx(expected, abs=1e-12)
    assert by_orders(table) == pytest.approx(expected, abs=1e-12)


def test_leaving_one_out_would_pay_redundant_players_nothing():
    """Two who hold the same fact: each left out alone changes nothing, and Shapley shares the fact between them."""
    table = np.array([0.0, 7.1, 7.1, 7.1])
    left_out = [table[3] - table[2], table[3] - table[1]]
    assert left_out == [0.0, 0.0]
    assert shapley_values(table) == pytest.approx([3.55, 3.55])


def test_a_table_by_rows_equals_the_definition():
    tables = np.random.default_rng(4).normal(size=(3, 2, 32))
    found = shapley_values(tables)
    assert found.shape == (3, 2, 5)
    for place in np.ndindex(3, 2):
        assert np.allclose(found[place], by_orders(tables[place]))


@pytest.mark.parametrize("length", [0, 1, 3, 6])
def test_a_table_that_is_no_power_of_two_long_is_refused(length):
    with pytest.raises(ValueError, match=f"{length} coalition values; expected 2\\^n"):
        shapley_values(np.zeros(length))


@pytest.mark.node
def test_exact_shapley_by_retraining_shares_out_what_the_corpus_gained(tmp_path):
    pytest.importorskip("torch", reason="needs the node extra (torch)")
    from models.errors import InputError
    from reference_node.attribution.cache import Cache
    from reference_node.attribution.exact_shapley import ExactShapley
    from tests.node.attribution_world import RECIPE, Flat, small_corpus, small_model, small_queries

    model, corpus, queries, told = small_model(), small_corpus(), small_queries(), []
    method = ExactShapley(
        model, corpus, RECIPE, (1, 2), Flat(corpus), Cache(tmp_path), lambda *now: told.append(now)
    )
    table = method.table(queries)
    values, scores = method.values(queries), method.scores(queries)
    assert table.shape == (len(queries), 1 << corpus.players)
    assert np.allclose(values.sum(axis=1), table[:, -1] - table[:, 0], atol=1e-6)
    assert np.allclose(scores.sum(axis=1), values.sum(axis=1), atol=1e-6)
    assert not scores[:, corpus.clusters.duplicates].any()
    assert told[-1] == (2 << corpus.players, 2 << corpus.players)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert np.array_equal(method.table(queries), table)
    assert sorted(path.name for path in tmp_path.iterdir()) == kept
    with pytest.raises(InputError, match="0 seeds; allowed"):
        ExactShapley(model, corpus, RECIPE, (), Flat(corpus), Cache())
