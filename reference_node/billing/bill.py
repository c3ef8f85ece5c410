"""Bill: what one request costs and who gets it, in exact integers.

Rules decided here. The request is the unit of rounding: its fee is floored once, whatever mix of cached,
computed and generated tokens and of adapters it has, and no sum of bills is rounded again. An ensemble pays
the mean of its adapters' rates and divides model and contributors' parts by its weights, taken exactly and
without their sign (adapters whose weights are all 0 count alike). The model part goes to the adapter's owner,
the contributors' part to DataNets and then to contributors by their shares, each time by largest remainder,
ties to the first named. What has no owner, no DataNet or no share goes to the tariff's fallback address,
never lost. Platform, stakers and burn are accounts of the protocol, not payees of the distributor.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from models.apportion import apportion_reference
from models.fees import PER_MILLION, split_reference, token_fee_reference
from models.units import INT64_MAX
from reference_node.billing.tariff import Rates, Tariff
from reference_node.billing.terms import Terms

PARTS = ("platform", "burn", "model", "stakers", "contributors")
"""Parts of a fee; together they are the fee."""
PAID_OUT = ("model", "contributors")
"""Parts that go to payees through the distributor; the others go to accounts."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one request.

    Parameters
    ----------
    prompt
        All prompt tokens.
    cached
        Those of them that came from the prefix cache.
    generated
        Completion tokens.
    """

    prompt: int
    cached: int
    generated: int

    def __post_init__(self) -> None:
        if min(self.prompt, self.cached, self.generated) < 0 or self.cached > self.prompt:
            raise ValueError(
                f"tokens in {self.prompt}, cached {self.cached}, out {self.generated}: "
                "all 0 or more, and no more cached than in"
            )


@dataclass(frozen=True, slots=True)
class Bill:
    """One request's bill; `parts` sum to the fee, `payees` to the model and contributors' parts.

    Parameters
    ----------
    request_id
        32 hexadecimal digits.
    tokens_in, cached_tokens, tokens_out
        As in `Tokens`.
    fee_gwei
        Fee, gwei.
    parts
        `PARTS` -> gwei.
    payees
        Address -> gwei, without zeros.
    """

    request_id: str
    tokens_in: int
    cached_tokens: int
    tokens_out: int
    fee_gwei: int
    parts: dict[str, int]
    payees: dict[str, int]


def make_bill(
    request_id: str, tokens: Tokens, tariff: Tariff, terms: Sequence[Terms], weights: Sequence[float]
) -> Bill:
    """Bill one request.

    Parameters
    ----------
    request_id
        32 hexadecimal digits.
    tokens
        What was read and written.
    tariff
        Rates and division.
    terms, weights
        The request's adapters and their weights; empty for the base model.

    Raises
    ------
    ValueError
        If a weight is not finite or the fee does not fit 63 bits.
    """
    exact = whole_weights(weights)
    rates = [tariff.rates_of(one.sha256, one.alias) for one in terms]
    fee = fee_of(tokens, rates or [tariff.base], exact or [1])
    if fee > INT64_MAX:
        raise ValueError(f"a fee of {fee} gwei does not fit; at most {INT64_MAX}")
    parts = split_reference(
        fee, tariff.weights, tariff.platform_bps, tariff.platform_flat, tariff.burn_bps, "contributors"
    )
    payees: defaultdict[str, int] = defaultdict(int)
    for payee, amount in _payments(parts, terms, exact):
        payees[payee or tariff.addresses["fallback"]] += amount
    paid = {payee: payees[payee] for payee in sorted(payees) if payees[payee]}
    assert sum(parts.values()) == fee, (parts, fee)
    assert sum(paid.values()) == sum(parts[name] for name in PAID_OUT), (paid, parts)
    counts = tokens.prompt, tokens.cached, tokens.generated
    return Bill(request_id, *counts, fee, {name: parts[name] for name in PARTS}, paid)


def fee_of(tokens: Tokens, rates: Sequence[Rates], weights: Sequence[int]) -> int:
    """Return the fee of one request in gwei, floored once.

    Parameters
    ----------
    tokens
        What was read and written.
    rates
        Rates of each adapter.
    weights
        Whole weights of the adapters, with a positive sum.

    Examples
    --------
    >>> fee_of(Tokens(3, 1, 2), [Rates(500_000, 1_000_000, 250_000)], [1])
    3
    """
    computed = tokens.prompt - tokens.cached
    read = sum(
        w * (computed * rate.input + tokens.cached * rate.cached)
        for w, rate in zip(weights, rates, strict=True)
    )
    written = sum(w * rate.output for w, rate in zip(weights, rates, strict=True))
    # the read tokens' cost is one sum of products, so it enters the formula as one token of that rate
    return token_fee_reference(1, tokens.generated, read, written, per=PER_MILLION * sum(weights))


def whole_weights(weights: Sequence[float]) -> list[int]:
    """Return the smallest whole numbers in exactly the ratio of the weights' sizes, or ones if all are 0.

    Raises
    ------
    ValueError
        If a weight is not finite.

    Examples
    --------
    >>> whole_weights([0.5, -1.5])
    [1, 3]
    """
    if not all(math.isfinite(weight) for weight in weights):
        raise ValueError(f"weights {list(weights)} must be finite")
    sizes = [abs(Fraction(weight)) for weight in weights]
    if not any(sizes):
        return [1] * len(sizes)
    scale = math.lcm(*(size.denominator for size in sizes))
    whole = [int(size * scale) for size in sizes]
    common = math.gcd(*whole)
    return [number // common for number in whole]


def _payments(
    parts: dict[str, int], terms: Sequence[Terms], weights: Sequence[int]
) -> Iterator[tuple[str, int]]:
    """Yield (address or "" for nobody, gwei); together the model and contributors' parts."""
    if not terms:
        yield "", parts["model"] + parts["contributors"]
        return
    models = apportion_reference(parts["model"], weights)
    data = apportion_reference(parts["contributors"], weights)
    for one, model_part, data_part in zip(terms, models, data, strict=True):
        yield one.owner, model_part
        yield from _to_datanets(one, data_part)


def _to_datanets(terms: Terms, amount: int) -> Iterator[tuple[str, int]]:
    by_net = apportion_reference(amount, [net.share_bps for net in terms.datanets])
    yield "", amount - sum(by_net)  # the whole amount where no DataNet has a share, else 0
    for net, net_part in zip(terms.datanets, by_net, strict=True):
        paid = apportion_reference(net_part, [one.share_bps for one in net.contributors])
        yield "", net_part - sum(paid)
        yield from ((one.address, part) for one, part in zip(net.contributors, paid, strict=True))
