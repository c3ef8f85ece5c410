"""Attribution: conservation, permutation, null players, and neutrality to copies and splits."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from models import attribution

CAP = 10**18
scores = st.lists(st.floats(-10, 1e6), min_size=1, max_size=12)
positive = st.lists(st.floats(0, 1e6), min_size=1, max_size=12)
pots = st.one_of(st.integers(0, 50), st.integers(0, CAP))


def pay(values, pot):
    paid, left = attribution.payouts(np.array([pot]), attribution.integer_weights(np.array([values], float)))
    return paid[0], int(left[0])


def alone(count):
    return np.arange(count)[None, :], np.zeros((1, count), bool)


@given(positive, pots)
def test_a_pot_is_paid_out_to_the_gwei_or_left_whole(values, pot):
    paid, left = pay(values, pot)
    assert int(paid.sum()) + left == pot
    assert paid.min() >= 0
    assert left in (0, pot)
    assert (paid[np.array(values) == 0] == 0).all()


@given(positive)
def test_weights_sum_to_the_whole_or_to_nothing(values):
    weights = attribution.integer_weights(np.array([values]))
    assert int(weights.sum()) == (attribution.WHOLE if max(values) > 0 else 0)


@given(positive, pots, st.randoms(use_true_random=False))
def test_a_permutation_of_payees_permutes_payouts_but_for_ties(values, pot, random):
    order = list(range(len(values)))
    random.shuffle(order)
    straight, _ = pay(values, pot)
    shuffled, _ = pay([values[i] for i in order], pot)
    # a tie goes to the lower id: equal remainders may move a unit of weight, 10^-9 of the pot, and a gwei
    assert np.abs(straight[order] - shuffled).max() <= pot // attribution.WHOLE + 2


@given(scores, st.integers(0, 11), st.integers(1, 4), pots)
def test_copies_found_change_nobodys_pay(values, victim, copies, pot):
    victim %= len(values)
    count = len(values)
    clusters, duplicates = alone(count)
    honest = attribution.cluster_values(np.array([values]), clusters, duplicates)
    more = np.array([values + [values[victim]] * copies])
    clusters = np.append(clusters, [[victim] * copies], axis=1)
    duplicates = np.append(duplicates, [[True] * copies], axis=1)
    attacked = attribution.cluster_values(more, clusters, duplicates)
    before, _ = attribution.payouts(np.array([pot]), attribution.integer_weights(honest))
    after, _ = attribution.payouts(np.array([pot]), attribution.integer_weights(attacked))
    assert (after[:, :count] == before).all()
    assert not after[:, count:].any()


@given(scores, st.integers(0, 11), st.lists(st.floats(0.01, 1.0), min_size=1, max_size=4))
def test_splitting_ones_data_over_names_is_worth_the_whole(values, who, parts):
    who %= len(values)
    shares = np.array(parts) / sum(parts)
    clusters, duplicates = alone(len(values))
    honest = attribution.cluster_values(np.array([values]), clusters, duplicates)
    split = np.array([[*values, *(values[who] * shares[1:])]])
    split[0, who] *= shares[0]
    clusters = np.append(clusters, np.full((1, len(parts) - 1), who), axis=1)
    attacked = attribution.cluster_values(split, clusters, np.zeros(split.shape, bool))
    assert np.allclose(attacked[:, : len(values)], honest, rtol=1e-12, atol=1e-9)
    assert not attacked[:, len(values) :].any()


@given(scores, st.floats(0, 100), st.floats(0, 100))
def test_how_negative_a_score_is_changes_nobody_elses_pay(values, harm, other):
    clusters, duplicates = alone(len(values) + 1)
    one = attribution.cluster_values(np.array([[*values, -harm]]), clusters, duplicates)
    two = attribution.cluster_values(np.array([[*values, -other]]), clusters, duplicates)
    assert (one == two).all()


@given(positive, st.integers(0, 11), st.floats(1, 100), st.integers(10**6, CAP))
def test_more_influence_never_pays_less(values, who, factor, pot):
    who %= len(values)
    raised = list(values)
    raised[who] = min(values[who] * factor, 1e6)
    assume(raised[who] >= values[who])
    before, after = pay(values, pot)[0][who], pay(raised, pot)[0][who]
    # weights are quantised to 10^-9 of the pot, twice
    assert after >= before - 2 * (pot // attribution.WHOLE) - 2


@given(
    st.lists(st.integers(0, CAP // 4), min_size=2, max_size=4),
    st.integers(2, 6),
    st.randoms(use_true_random=False),
)
def test_mixed_weights_lie_between_those_of_the_classes(money, payees, random):
    classes = len(money)
    values = np.array([[[0.01 + random.random() for _ in range(payees)] for _ in range(classes)]])
    weights = attribution.integer_weights(values[0]).reshape(1, classes, payees)
    mixed = attribution.mixed_weights(np.array([money]), weights)
    assert int(mixed.sum()) == 2**20 * attribution.WHOLE
    shares = mixed[0] / mixed.sum()
    each = weights[0] / attribution.WHOLE
    assert (shares >= each.min(axis=0) - 1e-9).all()
    assert (shares <= each.max(axis=0) + 1e-9).all()


@given(st.integers(0, CAP), st.integers(0, 10_000))
def test_a_slash_is_one_floor_of_the_stake(stake, bps):
    part = attribution.slashed(np.array([[stake]]), np.array([bps]), np.array([[True]]))
    assert int(part[0, 0]) == stake * bps // 10_000
