"""Fees: every gwei of a bill goes somewhere, and the vectorised form is the reference, up to the cap."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models import fees
from models.operators import claim_gwei

CAP = 10**18
NAMES = ("model", "stakers", "contributors")
amounts = st.one_of(st.integers(0, 100), st.integers(0, 10**12), st.integers(0, CAP))
shares = st.integers(0, fees.BPS)
weights = st.tuples(*[st.integers(0, 10**6)] * 3).filter(any)


@st.composite
def batches(draw):
    runs, bills = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    fee = np.array(
        draw(st.lists(st.lists(amounts, min_size=bills, max_size=bills), min_size=runs, max_size=runs))
    )
    column = lambda values: np.array(draw(st.lists(values, min_size=runs, max_size=runs)), np.int64)  # noqa: E731
    rule = fees.SplitRule(
        platform_bps=column(shares),
        platform_flat=column(st.one_of(st.just(0), st.integers(0, 10**10))),
        burn_bps=column(shares),
        payees=NAMES,
        weights=np.array(draw(st.lists(weights, min_size=runs, max_size=runs)), np.int64),
    )
    return fee.astype(np.int64), rule


def reference(fee: int, rule: fees.SplitRule, row: int) -> dict[str, int]:
    return fees.split_reference(
        fee,
        dict(zip(NAMES, rule.weights[row].tolist(), strict=True)),
        platform_bps=int(rule.platform_bps[row]),
        platform_flat=int(rule.platform_flat[row]),
        burn_bps=int(rule.burn_bps[row]),
    )


@given(amounts, weights, shares, shares, st.integers(0, CAP))
def test_parts_sum_to_the_bill(fee, given_weights, platform, burn, flat):
    parts = fees.split_reference(
        fee,
        dict(zip(NAMES, given_weights, strict=True)),
        platform_bps=platform,
        burn_bps=burn,
        platform_flat=flat,
    )
    assert sum(parts.values()) == fee
    assert min(parts.values()) >= 0


@given(batches())
def test_vectorised_split_equals_the_reference(batch):
    fee, rule = batch
    parts = fees.split(fee, rule)
    for row, column in np.ndindex(*fee.shape):
        expected = reference(int(fee[row, column]), rule, row)
        got = {"platform": parts.platform, "burn": parts.burn, **parts.parts}
        assert {name: int(values[row, column]) for name, values in got.items()} == expected


@given(batches(), st.integers(0, 5))
def test_the_audit_accepts_honest_books_and_finds_a_moved_amount(batch, which):
    fee, rule = batch
    fee = fee // fee.shape[1]  # the sum of a day's bills stays within the cap
    parts = fees.split(fee, rule)
    bills = np.count_nonzero(fee, axis=1)
    booked = {"platform": parts.platform, "burn": parts.burn, **parts.parts}
    booked = {name: values.sum(axis=1) for name, values in booked.items()}
    assert fees.split_bounds(fee.sum(axis=1), bills, rule, booked) == []
    wrong = booked["contributors"] + 3 * bills + 1
    found = fees.split_bounds(fee.sum(axis=1), bills, rule, {**booked, "contributors": wrong})
    assert {d.payee for d in found} == {"contributors"}
    assert [d.row for d in found] == list(range(len(fee)))


@given(
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.integers(0, 10**12),
    st.integers(0, 10**12),
    st.sampled_from([1000, 10**6]),
)
def test_vectorised_token_fee_equals_the_reference(tokens_in, tokens_out, rate_in, rate_out, per):
    one = [np.array([[x]]) for x in (tokens_in, tokens_out, rate_in, rate_out)]
    expected = fees.token_fee_reference(tokens_in, tokens_out, rate_in, rate_out, per)
    if expected < 2**62:
        assert int(fees.token_fee(*one, per)[0, 0]) == expected


@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**7)), min_size=1, max_size=20),
    st.integers(0, 10**10),
)
def test_bills_together_are_less_than_one_gwei_each_below_the_sum(uses, rate):
    tokens_in, tokens_out = (np.array(x, np.int64)[None, :] for x in zip(*uses, strict=True))
    rates = np.array([[rate]])
    together = fees.token_fee_reference(int(tokens_in.sum()), int(tokens_out.sum()), rate, rate)
    apart = int(fees.token_fee(tokens_in, tokens_out, rates, rates).sum())
    assert together - len(uses) < apart <= together


@given(batches(), st.randoms(use_true_random=False))
def test_order_of_bills_does_not_matter(batch, random):
    fee, rule = batch
    order = list(range(fee.shape[1]))
    random.shuffle(order)
    straight, shuffled = fees.split(fee, rule), fees.split(fee[:, order], rule)
    for name in NAMES:
        assert (straight.parts[name][:, order] == shuffled.parts[name]).all()


@given(st.integers(0, CAP), st.integers(0, CAP))
def test_operators_never_get_more_than_platform_or_claim(platform, claim):
    paid, rest, missing = (int(x) for x in fees.pay_operators(np.int64(platform), np.int64(claim)))
    assert paid + rest == platform
    assert paid + missing == claim
    assert rest == 0 or missing == 0


@given(st.integers(0, 10**12), st.integers(0, 10**11))
def test_claim_is_one_floor(tokens, rate):
    expected = tokens * rate // 10**6
    if expected < 2**62:
        assert int(claim_gwei(np.array([tokens]), np.array([rate]))[0]) == expected


@given(st.integers(1, 10**9), st.floats(1e-3, 1e4), st.floats(1e-3, 1e4))
def test_a_higher_price_never_buys_more(micro, price, other):
    low, high = sorted((price, other))
    assert int(fees.quote(micro, high)) <= int(fees.quote(micro, low))
