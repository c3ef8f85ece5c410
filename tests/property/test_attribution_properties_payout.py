"""Attribution, properties of payouts: 1 to 11, 15 to 17 and 20 (int64). A property's number is in its tests' names."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from models import apportion as apportioning
from models import attribution, disputes, dust, share_noise, value_split
from models.apportion import apportion, apportion_reference
from models.attribution import WHOLE, integer_weights, payouts
from models.dust import due, pay_epoch
from models.fees import split_reference
from models.shapley import quotient_values, shapley_values
from models.value_split import POLICIES, split_weights

CAP = 10**18
pots = st.one_of(st.integers(0, 60), st.integers(0, CAP), st.just(CAP))
weight_lists = st.lists(st.one_of(st.integers(0, 5), st.integers(0, 10**9)), min_size=1, max_size=14)
scores = st.lists(st.floats(-100, 1e6), min_size=2, max_size=10)


def pay(pot: int, weights: list[int]) -> tuple[list[int], int]:
    paid, left = payouts(np.array([pot]), np.array([weights], np.int64))
    return paid[0].tolist(), int(left[0])


def whole_weights(weights: list[int]) -> np.ndarray:
    """Weights of 10^9 in the ratio of these, as they come out of a split."""
    return integer_weights(np.array([weights], np.float64))[0]


@given(pots, weight_lists, st.integers(0, 10**6))
def test_01_every_unit_of_a_pot_is_paid_or_stays_with_the_caller(
    pot: int, weights: list[int], more: int
) -> None:
    paid, left = pay(pot, weights)
    assert sum(paid) + left == pot
    assert left == (0 if any(weights) else pot)
    epoch = pay_epoch(pot, whole_weights(weights), np.full(len(weights), more % WHOLE))
    before = (more % WHOLE) * len(weights)
    # units paid, carried billionths and what nobody has a weight for: exactly the pot and what was carried before
    assert (int(epoch.paid.sum()) + epoch.unclaimed) * WHOLE + int(
        epoch.carried.sum()
    ) == pot * WHOLE + before


MONEY_PATH = (apportioning, dust, attribution, value_split, disputes, share_noise)
FLOATS_ALLOWED = {
    "integer_weights": "the one place where influence becomes whole numbers",
    "cluster_values": "influence",
    "net_weights": "influence, before it becomes whole numbers",
    "null_level": "influence",
    "split_values": "influence",
    "_check_finite": "influence",
    "noise_scale": "a scale of draws",
    "noisy_weights": "draws, floored at once",
    "_sums": "only compares a size with a limit",
}


@given(pots, weight_lists)
def test_02_payouts_are_whole_numbers(pot: int, weights: list[int]) -> None:
    paid, _ = payouts(np.array([pot]), np.array([weights], np.int64))
    assert paid.dtype == np.int64
    assert paid.min() >= 0
    assert all(type(part) is int for part in apportion_reference(pot, weights))


def test_02_no_float_touches_money() -> None:
    """True division, float literals and float64 stand in functions of influence alone, each with its reason."""
    found = set()
    for module in MONEY_PATH:
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for node in ast.walk(function):
                division = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
                literal = isinstance(node, ast.Constant) and isinstance(node.value, float)
                cast = isinstance(node, ast.Attribute) and node.attr.startswith("float")
                if division or literal or cast or (isinstance(node, ast.Name) and node.id == "float"):
                    # an annotation of an argument that is influence is no arithmetic
                    found.add(function.name)
    assert found - {"split_weights"} <= set(FLOATS_ALLOWED)


@given(pots, weight_lists)
def test_03_nobody_is_a_unit_away_from_the_exact_part(pot: int, weights: list[int]) -> None:
    assume(any(weights))
    paid, _ = pay(pot, weights)
    for part, weight in zip(paid, weights, strict=True):
        assert pot * weight // sum(weights) <= part <= pot * weight // sum(weights) + 1


@given(pots, weight_lists, st.randoms(use_true_random=False))
def test_04_order_of_arrival_pays_nobody_more(pot: int, weights: list[int], random) -> None:
    ids = [f"0x{i:02d}" for i in range(len(weights))]
    order = list(range(len(ids)))
    random.shuffle(order)

    def by_id(pairs: list[tuple[str, int]]) -> dict[str, int]:
        named = sorted(pairs)  # ties go by id, not by place
        return dict(zip([who for who, _ in named], pay(pot, [w for _, w in named])[0], strict=True))

    straight = by_id(list(zip(ids, weights, strict=True)))
    assert by_id([(ids[i], weights[i]) for i in order]) == straight


@given(weight_lists, st.integers(0, 9), st.lists(st.integers(0, 10**7), min_size=1, max_size=12))
def test_05_equals_get_the_same_now_and_over_epochs(
    weights: list[int], twin: int, pot_list: list[int]
) -> None:
    weights = [*weights, weights[twin % len(weights)]]
    one, other = twin % (len(weights) - 1), len(weights) - 1
    paid, _ = pay(pot_list[0], weights)
    assert abs(paid[one] - paid[other]) <= 1
    shared = np.array(apportion_reference(WHOLE, [1] * len(weights)))
    carried, total = np.zeros(len(weights), np.int64), np.zeros(len(weights), np.int64)
    for pot in pot_list:
        epoch = pay_epoch(pot, shared, carried)
        carried, total = epoch.carried, total + epoch.paid
    exact = [sum(pot * int(w) for pot in pot_list) // WHOLE for w in shared]
    assert total.tolist() == exact
    assert max(exact) - min(exact) <= 1 + sum(pot_list) // WHOLE


@given(pots, weight_lists)
def test_06_who_has_no_weight_gets_nothing(pot: int, weights: list[int]) -> None:
    paid, _ = pay(pot, weights)
    assert all(part == 0 for part, weight in zip(paid, weights, strict=True) if weight == 0)


@given(st.integers(1, 5), st.data())
def test_06_who_changes_no_coalition_has_no_shapley_value(players: int, data: st.DataObject) -> None:
    values = np.array(data.draw(st.lists(st.floats(-50, 50), min_size=2**players, max_size=2**players)))
    null = data.draw(st.integers(0, players))
    # the player is put in at place `null` and changes nothing
    low = np.arange(2 ** (players + 1)) & (2**null - 1)
    high = np.arange(2 ** (players + 1)) >> (null + 1) << null
    assert abs(shapley_values(values[low | high])[null]) < 1e-9


@given(pots, weight_lists, st.integers(0, 13), st.integers(1, 10**9))
def test_07_more_weight_never_pays_less_and_lifts_nobody_else(
    pot: int, weights: list[int], who: int, more: int
) -> None:
    who %= len(weights)
    before, _ = pay(pot, weights)
    after, _ = pay(pot, [weight + more * (i == who) for i, weight in enumerate(weights)])
    if any(weights):
        assert after[who] >= before[who]
        assert all(after[i] <= before[i] + 1 for i in range(len(weights)) if i != who)


@given(pots, st.integers(0, 10**9), weight_lists)
def test_08_a_larger_pot_pays_everybody_at_least_one_unit_less_than_before(
    pot: int, more: int, weights: list[int]
) -> None:
    pot = min(pot, CAP - more)
    before, _ = pay(pot, weights)
    after, _ = pay(pot + more, weights)
    assert all(late >= early - 1 for early, late in zip(before, after, strict=True))


def test_08_golden_alabama() -> None:
    """One unit more in the pot, and the smallest loses the one it had: known, bounded, and never more than one."""
    assert pay(3, [1, 3, 3])[0] == [1, 1, 1]
    assert pay(4, [1, 3, 3])[0] == [0, 2, 2]
    assert pay(10**9, [1, 1, 1])[0] == [333_333_334, 333_333_333, 333_333_333]


@given(pots, weight_lists, st.integers(1, 10**8))
def test_09_only_the_ratio_of_weights_counts(pot: int, weights: list[int], factor: int) -> None:
    assume(sum(weights) * factor <= 2**61)
    assert pay(pot, weights) == pay(pot, [weight * factor for weight in weights])


@given(st.integers(0, CAP), st.integers(0, 10_000), st.integers(0, 10**6), st.integers(0, 10_000),
       st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 9)))  # fmt: skip
def test_10_the_parts_of_a_fee_are_the_fee(
    fee: int, platform_bps: int, flat: int, burn_bps: int, weights: tuple[int, int, int]
) -> None:
    named = dict(zip(("model", "stakers", "contributors"), weights, strict=True))
    parts = split_reference(fee, named, platform_bps, flat, burn_bps)
    assert sum(parts.values()) == fee
    # what the payees divide does not move platform and burn, and the other way round
    other = split_reference(fee, {"model": 1, "stakers": 0, "contributors": 3}, platform_bps, flat, burn_bps)
    assert (other["platform"], other["burn"]) == (parts["platform"], parts["burn"])
    divided = fee - parts["platform"] - parts["burn"]
    assert parts["model"] == divided * weights[0] // sum(weights)


@given(st.integers(1, 6), st.data())
def test_11_shapley_values_share_out_the_whole_and_add_over_games(players: int, data: st.DataObject) -> None:
    table = st.lists(st.floats(-50, 50), min_size=2**players, max_size=2**players).map(np.array)
    one, two = data.draw(table), data.draw(table)
    values = shapley_values(one)
    assert np.isclose(values.sum(), one[-1] - one[0])
    assert np.allclose(shapley_values(one + two), values + shapley_values(two))
    clusters = np.array(data.draw(st.lists(st.integers(0, 2), min_size=players, max_size=players)))
    _, clusters = np.unique(clusters, return_inverse=True)
    quotient = shapley_values(quotient_values(one, clusters))
    assert np.isclose(quotient.sum(), values.sum())


@given(scores, st.floats(0, 1e6), st.floats(0, 1e6))
def test_15_how_harmful_somebody_is_changes_nobody_elses_pay(
    values: list[float], harm: float, other: float
) -> None:
    count = len(values) + 1
    weights = [
        split_weights(
            POLICIES[name], np.array([[*values, -much]]), np.arange(count), np.zeros(count, bool)
        ).tolist()
        for name in ("cluster_sum_clip.v1", "cluster_clip_sum.v1")
        for much in (harm, other)
    ]
    assert weights[0] == weights[1]
    assert weights[2] == weights[3]
    assert weights[0][0][-1] == 0


@given(
    st.lists(st.lists(st.integers(0, 500), min_size=3, max_size=3), min_size=1, max_size=12),
    st.integers(1, 900),
)
def test_16_balances_wait_under_the_minimum_and_all_are_paid_in_the_end(
    earned: list[list[int]], minimum: int
) -> None:
    balance, paid = np.zeros(3, np.int64), np.zeros(3, np.int64)
    for row in earned:
        now, balance = due(balance + np.array(row), minimum)
        paid += now
        assert (balance < minimum).all()
        assert int(balance.sum()) < 3 * minimum
    rest, balance = due(balance, minimum, closing=True)
    assert not balance.any()
    assert (paid + rest).tolist() == np.sum(earned, axis=0).tolist()


@given(st.lists(pots, min_size=1, max_size=8), weight_lists, st.integers(0, 8))
def test_17_how_epochs_are_cut_changes_no_payout(pot_list: list[int], weights: list[int], cut: int) -> None:
    pot_list = [pot // 10 for pot in pot_list]
    shares, nothing = whole_weights(weights), np.zeros(len(weights), np.int64)
    whole = pay_epoch(sum(pot_list), shares, nothing)
    first = pay_epoch(sum(pot_list[:cut]), shares, nothing)
    second = pay_epoch(sum(pot_list[cut:]), shares, first.carried)
    assert (first.paid + second.paid).tolist() == whole.paid.tolist()
    assert second.carried.tolist() == whole.carried.tolist()
    # by largest remainder alone, without what is carried, it is within a unit for each cut
    parts = [pay(sum(pots_), shares.tolist())[0] for pots_ in (pot_list, pot_list[:cut], pot_list[cut:])]
    assert all(abs(a - b - c) <= 2 for a, b, c in zip(*parts, strict=True))


@given(st.integers(0, CAP), weight_lists)
def test_20_the_int64_form_is_that_of_whole_numbers_of_any_size(pot: int, weights: list[int]) -> None:
    shares = whole_weights(weights)
    assert apportion(pot, shares[None, :])[0].tolist() == apportion_reference(pot, shares.tolist())
    epoch = pay_epoch(pot, shares, np.full(len(weights), WHOLE - 1))
    if shares.any():
        assert epoch.paid.tolist() == [(pot * weight + WHOLE - 1) // WHOLE for weight in shares.tolist()]
