"""Shapley values: the axioms that make them unique, and the quotient game."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.shapley import quotient_values, shapley_values

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 6)
TOLERANCE = 1e-9


def game(seed: int, players: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 10, 1 << players)


def permuted(table: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The same game with player i called order[i]."""
    players = len(order)
    renamed = [sum(1 << order[i] for i in range(players) if c >> i & 1) for c in range(1 << players)]
    found = np.empty_like(table)
    found[renamed] = table
    return found


@given(seeds, sizes)
def test_values_share_out_the_whole_gain(seed: int, players: int) -> None:
    table = game(seed, players)
    assert abs(shapley_values(table).sum() - (table[-1] - table[0])) < TOLERANCE


@given(seeds, seeds, sizes)
def test_values_add_over_games(one: int, other: int, players: int) -> None:
    left, right = game(one, players), game(other, players)
    both = shapley_values(left + right)
    assert np.allclose(both, shapley_values(left) + shapley_values(right), atol=TOLERANCE)


@given(seeds, sizes, st.data())
def test_names_do_not_matter(seed: int, players: int, data: st.DataObject) -> None:
    order = np.array(data.draw(st.permutations(range(players))))
    table = game(seed, players)
    assert np.allclose(shapley_values(permuted(table, order))[order], shapley_values(table), atol=TOLERANCE)


@given(seeds, sizes)
def test_who_changes_nothing_gets_nothing_and_changes_nobodys_value(seed: int, players: int) -> None:
    table = game(seed, players)
    found = shapley_values(np.concatenate([table, table]))  # one more player, who changes no coalition
    assert abs(found[-1]) < TOLERANCE
    assert np.allclose(found[:-1], shapley_values(table), atol=TOLERANCE)


@given(seeds, st.integers(2, 6))
def test_equals_are_treated_alike(seed: int, players: int) -> None:
    table = game(seed, players)
    swapped = permuted(table, np.array([1, 0, *range(2, players)]))
    found = shapley_values((table + swapped) / 2)
    assert abs(found[0] - found[1]) < TOLERANCE


@given(seeds, sizes)
def test_an_additive_game_is_its_own_value(seed: int, players: int) -> None:
    worth = np.random.default_rng(seed).normal(size=players)
    members = np.arange(1 << players)[:, None] >> np.arange(players) & 1
    assert np.allclose(shapley_values(members @ worth + 3.0), worth, atol=TOLERANCE)


@given(seeds, st.integers(2, 6), st.data())
def test_the_quotient_plays_the_same_game_by_clusters(seed: int, players: int, data: st.DataObject) -> None:
    drawn = data.draw(st.lists(st.integers(0, 3), min_size=players, max_size=players))
    _, clusters = np.unique(drawn, return_inverse=True)
    table = game(seed, players)
    whole = quotient_values(table, clusters)
    assert (whole[0], whole[-1]) == (table[0], table[-1])
    assert abs(shapley_values(whole).sum() - shapley_values(table).sum()) < TOLERANCE
    if (clusters == np.arange(players)).all():
        assert (whole == table).all()


@given(seeds, st.integers(1, 5), st.integers(1, 3))
def test_copies_of_a_player_gain_a_cluster_nothing(seed: int, players: int, copies: int) -> None:
    """A copy adds nothing to a coalition that holds its original or another copy."""
    table = game(seed, players)
    last = players - 1
    wide = np.array(
        [table[(c & ((1 << last) - 1)) | ((c >> last > 0) << last)] for c in range(1 << (players + copies))]
    )
    clusters = np.minimum(np.arange(players + copies), last)
    assert np.allclose(shapley_values(quotient_values(wide, clusters)), shapley_values(table), atol=TOLERANCE)
