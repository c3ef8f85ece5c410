"""Bills of many requests at once: requests that have tariff, adapters and weights in common.

Rule decided here: nothing new. The amounts are those of `bill.make_bill`, which stays the definition, through the
int64 forms of its formulas (`models.fees.split`, `models.apportion.apportion`, each held to its reference in Python
integers). Where a number is too large for them, no bill of the group is made here, and the caller makes each alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.apportion import apportion
from models.attribution import WHOLE
from models.exact import LARGEST_DIVISOR
from models.fees import PER_MILLION, SplitRule, split
from reference_node.billing.bill import PARTS, Bill, Tokens, fee_of, whole_weights
from reference_node.billing.tariff import PAYEES, Tariff
from reference_node.billing.terms import Terms

Ints = NDArray[np.int64]

_FITS = 2**62


@dataclass(frozen=True, slots=True)
class Amounts:
    """Amounts of a group of bills, gwei.

    Parameters
    ----------
    fee
        Of each bill, `(bills,)`.
    parts
        `PARTS` -> `(bills,)`.
    paid
        What each address of the group gets, `(bills, addresses)`.
    """

    fee: Ints
    parts: dict[str, Ints]
    paid: Ints


@dataclass(slots=True)
class GroupBilling:
    """What the bills of a group have in common.

    Parameters
    ----------
    tariff, terms, weights
        As in `bill.make_bill`.
    address_of
        Data id -> address, "" for nobody (`terms.payees_by_data`).
    """

    tariff: Tariff
    terms: tuple[Terms, ...]
    weights: tuple[float, ...]
    address_of: dict[bytes, str]
    addresses: list[str] = field(init=False)
    """Everybody who may be paid, in order."""
    place_of: dict[bytes, int] = field(init=False)
    """Data id -> place of its address in `addresses`."""
    _exact: list[int] = field(init=False)
    _columns: dict[str, int] = field(init=False)
    _rule: SplitRule = field(init=False)

    def __post_init__(self) -> None:
        self._exact = whole_weights(self.weights)
        fallback = self.tariff.addresses["fallback"]
        named = {one.owner for one in self.terms} | set(self.address_of.values()) | {""}
        named |= {c.address for one in self.terms for net in one.datanets for c in net.contributors}
        self.addresses = sorted({address or fallback for address in named})
        places = {address: i for i, address in enumerate(self.addresses)}
        self._columns = {address: places[address or fallback] for address in named}
        self.place_of = {data_id: self._columns[address] for data_id, address in self.address_of.items()}
        self._rule = _rule(self.tariff)

    def amounts(self, tokens: Ints, named: Ints, places: Ints) -> Amounts | None:
        """Return the amounts of a group of bills, None where a number is too large for this form.

        Parameters
        ----------
        tokens
            Tokens in, cached and out of each, `(bills, 3)`; 0 or more, and no more cached than in.
        named
            Weights of 10^9 of the data that each record names, `(bills, entries)`, 0 behind the last one.
        places
            `place_of` the data, likewise.
        """
        fee = self._fees(tokens)
        if fee is None or not self._is_small():
            return None
        found = split(fee[None], self._rule)
        parts = {name: part[0] for name, part in found.parts.items()}
        parts |= {"platform": found.platform[0], "burn": found.burn[0]}
        paid = np.zeros((len(fee), len(self.addresses)), np.int64)
        data, rows = parts["contributors"], np.arange(len(fee))
        if named.any():
            *by_data, data = apportion(data, np.column_stack((named, WHOLE - named.sum(axis=1)))).T
            for part, place in zip(by_data, places.T, strict=True):
                paid[rows, place] += part
        self._pay(paid, parts["model"], data)
        assert (paid.sum(axis=1) == parts["model"] + parts["contributors"]).all()
        return Amounts(fee, {name: parts[name] for name in PARTS}, paid)

    def bills(self, request_ids: Sequence[str], tokens: Ints, amounts: Amounts) -> Iterator[Bill]:
        """Yield the bills that `amounts` gave of the same tokens."""
        parts = np.stack([amounts.parts[name] for name in PARTS], axis=1).tolist()
        columns = request_ids, tokens.tolist(), amounts.fee.tolist(), parts, amounts.paid.tolist()
        for request_id, (read, cached, written), fee, part, paid in zip(*columns, strict=True):
            payees = {address: gwei for address, gwei in zip(self.addresses, paid, strict=True) if gwei}
            yield Bill(request_id, read, cached, written, fee, dict(zip(PARTS, part, strict=True)), payees)

    def _is_small(self) -> bool:
        nets = [[net.share_bps for net in one.datanets] for one in self.terms]
        inside = [[c.share_bps for c in net.contributors] for one in self.terms for net in one.datanets]
        return all(sum(weights) <= LARGEST_DIVISOR for weights in [self._exact, *nets, *inside])

    def _fees(self, tokens: Ints) -> Ints | None:
        rates = [self.tariff.rates_of(one.sha256, one.alias) for one in self.terms] or [self.tariff.base]
        exact = self._exact or [1]
        computed, cached, written = (
            sum(weight * getattr(rate, name) for weight, rate in zip(exact, rates, strict=True))
            for name in ("input", "cached", "output")
        )
        per = PER_MILLION * sum(exact)
        most_in, _, most_out = tokens.max(axis=0, initial=0).tolist()
        if most_in * max(computed, cached) + most_out * written < _FITS > max(computed, cached, written, per):
            fed, again = tokens[:, 0] - tokens[:, 1], tokens[:, 1]
            return np.asarray((fed * computed + again * cached + tokens[:, 2] * written) // per)
        fees = [fee_of(Tokens(*row), rates, exact) for row in tokens.tolist()]
        return np.array(fees, np.int64) if max(fees, default=0) < _FITS else None

    def _pay(self, paid: Ints, model: Ints, data: Ints) -> None:
        """Add what owners, DataNets and nobody get of the model part and of what is left of the data's."""
        if not self.terms:
            paid[:, self._columns[""]] += model + data
            return
        parts = zip(self.terms, _divided(model, self._exact), _divided(data, self._exact), strict=True)
        for one, model_part, data_part in parts:
            paid[:, self._columns[one.owner]] += model_part
            paid[:, self._columns[""]] += data_part
            nets = _divided(data_part, [net.share_bps for net in one.datanets])
            for net, net_part in zip(one.datanets, nets, strict=True):
                shares = _divided(net_part, [c.share_bps for c in net.contributors])
                for contributor, part in zip(net.contributors, shares, strict=True):
                    paid[:, self._columns[contributor.address]] += part
                    paid[:, self._columns[""]] -= part


def _divided(amount: Ints, weights: Sequence[int]) -> Ints:
    """Divide each amount by largest remainder, `(payees, amounts)`."""
    if not weights:
        return np.zeros((0, len(amount)), np.int64)
    if len(weights) == 1 and weights[0]:
        return amount[None]
    return apportion(amount, np.broadcast_to(np.array(weights, np.int64), (len(amount), len(weights)))).T


def _rule(tariff: Tariff) -> SplitRule:
    platform, flat, burn = (
        np.array([x]) for x in (tariff.platform_bps, tariff.platform_flat, tariff.burn_bps)
    )
    weights = np.array([[tariff.weights[name] for name in PAYEES]])
    return SplitRule(platform, flat, burn, PAYEES, weights)
