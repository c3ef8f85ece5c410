"""Bill: what one request costs and who gets it, in exact integers.

Rules decided here. The request is the unit of rounding: its fee is floored once, whatever mix of cached,
computed and generated tokens and of adapters it has, and no sum of bills is rounded again. An ensemble pays
the mean of its adapters' rates and divides model and contributors' parts by its weights, taken exactly and
without their sign (adapters whose weights are all 0 count alike). The model part goes to the adapter's owner.
Where influence was measured, the contributors' part is first divided by its weights: data that the record names
is paid by its weight. What is left of the part, and the whole of it where nothing was measured, goes to DataNets
and then to contributors by their fixed shares. Each division is by largest remainder, ties to the first named.
What has no owner, no DataNet or no share goes to the tariff's fallback address, never lost. Platform, stakers and
burn are accounts of the protocol, not payees of the distributor.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from models.apportion import apportion_reference
from models.attribution import WHOLE
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


class Bill(NamedTuple):
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
    request_id: str,
    tokens: Tokens,
    tariff: Tariff,
    terms: Sequence[Terms],
    weights: Sequence[float],
    attributed: Sequence[tuple[str, int]] = (),
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
    attributed
        (address or "" for nobody, weight of 10^9) of the data that the record names.

    Raises
    ------
    ValueError
        If a weight is not finite or the fee does not fit 63 bits.
    """
    exact = _whole_weights(tuple(weights))
    rates = [tariff.rates_of(one.sha256, one.alias) for one in terms]
    fee = fee_of(tokens, rates or [tariff.base], exact or [1])
    if fee > INT64_MAX:
        raise ValueError(f"a fee of {fee} gwei does not fit; at most {INT64_MAX}")
    parts = split_reference(
        fee, tariff.weights, tariff.platform_bps, tariff.platform_flat, tariff.burn_bps, "contributors"
    )
    payees: defaultdict[str, int] = defaultdict(int)
    _pay(payees, parts, terms, exact, attributed)
    payees[tariff.addresses["fallback"]] += payees.pop("", 0)
    paid = {payee: payees[payee] for payee in sorted(payees) if payees[payee]}
    assert sum(parts.values()) == fee, (parts, fee)
    assert sum(paid.values()) == parts["model"] + parts["contributors"], (paid, parts)
    named = {name: parts[name] for name in PARTS}
    return Bill(request_id, tokens.prompt, tokens.cached, tokens.generated, fee, named, paid)


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
    computed, read, written = tokens.prompt - tokens.cached, 0, 0
    for weight, rate in zip(weights, rates, strict=True):
        read += weight * (computed * rate.input + tokens.cached * rate.cached)
        written += weight * rate.output
    # the read tokens' cost is one sum of products, so it enters the formula as one token of that rate
    return token_fee_reference(1, tokens.generated, read, written, per=PER_MILLION * sum(weights))


@lru_cache(4096)
def _whole_weights(weights: tuple[float, ...]) -> tuple[int, ...]:
    return tuple(whole_weights(weights))


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


def _pay(
    payees: defaultdict[str, int],
    parts: dict[str, int],
    terms: Sequence[Terms],
    weights: Sequence[int],
    attributed: Sequence[tuple[str, int]],
) -> None:
    """Add to each address ("" for nobody) what it gets; together the model and contributors' parts."""
    data = parts["contributors"]
    if attributed:
        measured = [weight for _, weight in attributed]
        *paid, data = apportion_reference(data, [*measured, WHOLE - sum(measured)])
        for (payee, _), amount in zip(attributed, paid, strict=True):
            payees[payee] += amount
    if not terms:
        payees[""] += parts["model"] + data
        return
    models = _divided(parts["model"], weights)
    for one, model_part, data_part in zip(terms, models, _divided(data, weights), strict=True):
        payees[one.owner] += model_part
        if data_part:
            _pay_datanets(payees, one, data_part)


def _pay_datanets(payees: defaultdict[str, int], terms: Terms, amount: int) -> None:
    net_shares, inside = _shares(terms)
    owned = 0
    for net_part, (shares, addresses) in zip(_divided(amount, net_shares), inside, strict=True):
        for address, part in zip(addresses, _divided(net_part, shares), strict=True):
            payees[address] += part
            owned += part
    payees[""] += amount - owned  # of DataNets without a share and contributors without one


@lru_cache(4096)
def _shares(terms: Terms) -> tuple[list[int], list[tuple[list[int], list[str]]]]:
    """Return the DataNets' shares, and of each DataNet its contributors' shares and addresses."""
    inside = [
        ([one.share_bps for one in net.contributors], [one.address for one in net.contributors])
        for net in terms.datanets
    ]
    return [net.share_bps for net in terms.datanets], inside


def _divided(amount: int, weights: Sequence[int]) -> list[int]:
    """Divide by largest remainder; most amounts go to one payee, whole."""
    return [amount] if len(weights) == 1 and weights[0] else apportion_reference(amount, weights)
