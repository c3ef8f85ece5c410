"""The token: cap, units and buckets.

Rule decided here: an allocation is its share of the cap exactly, in ledger units; allocations sum to the
cap unless the file says that its source does not.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PrivateAttr, model_validator

from models.units import format_amount
from sim.scenario.buckets import ROLES, Bucket
from sim.scenario.fields import AmountP, Flag, MaybeDate, Section, Text, whole
from sim.scenario.forms import Mistake
from sim.scenario.leaves import refuse
from sim.scenario.tables import read_table
from sim.scenario.tree import Map, Scalar


class TokenSection(Section):
    """Cap, units and buckets.

    Parameters
    ----------
    symbol
        The token's symbol.
    ledger_decimals
        Digits after the point that the ledger keeps; 9 makes its unit a gwei.
    cap
        All tokens there can ever be, in ledger units.
    tge
        Day on which the calendars start, or None for the scenario's start.
    sums_to_cap
        False for a published reading whose parts do not sum; the difference becomes a note.
    buckets
        The allocations by name.
    """

    symbol: Text = "OPEN"
    ledger_decimals: Annotated[int, whole(0, 18)] = 9
    cap: AmountP
    tge: MaybeDate = None
    sums_to_cap: Flag = True
    buckets: dict[str, Bucket] = Field(min_length=1)
    _notes: tuple[str, ...] = PrivateAttr(default=())

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know about a reading that does not sum."""
        return self._notes

    @property
    def issued(self) -> int:
        """Ledger units in all buckets together: the cap, but for a reading that does not sum."""
        return sum(bucket.allocation for bucket in self.buckets.values())

    def amount(self, units: int) -> str:
        """Write ledger units with the token's symbol."""
        return format_amount(units, self.symbol, self.ledger_decimals)

    @model_validator(mode="before")
    @classmethod
    def _roles(cls, data: Any) -> Any:
        """Give a bucket whose name is a role that role."""
        buckets = data.get("buckets") if isinstance(data, Map) else None
        for name, bucket in buckets.items() if isinstance(buckets, Map) else ():
            if name in ROLES and isinstance(bucket, Map) and "role" not in bucket:
                bucket.put("role", Scalar(name, "str", bucket.place, Path()), bucket.place)
        return data

    @model_validator(mode="after")
    def _allocate(self) -> TokenSection:
        if self.cap.value == 0:
            raise refuse([Mistake("is 0; expected a cap above 0", below="cap")])
        mistakes: list[Mistake] = []
        for name, bucket in self.buckets.items():
            mistakes += self._allocate_one(name, bucket)
        if not mistakes:
            mistakes += self._check_sum(self.issued)
        if mistakes:
            raise refuse(mistakes)
        self._notes = (*self._notes, *self._gross_notes())
        return self

    def _allocate_one(self, name: str, bucket: Bucket) -> list[Mistake]:
        below = f"buckets.{name}"
        exact = bucket.share.value * self.cap.value
        if exact.denominator != 1:
            part = f"{float(exact / 10**self.ledger_decimals):.18g} {self.symbol}"
            message = f"gives {part}, which has a part smaller than 10^-{self.ledger_decimals} {self.symbol}"
            return [Mistake(message, below=f"{below}.share")]
        bucket._allocation = int(exact)
        if bucket.tge_amount > bucket.allocation:
            most = self.amount(bucket.allocation)
            message = f"{self.amount(bucket.tge_amount)} is more than the whole share; allowed 0 to {most}"
            return [Mistake(message, below=f"{below}.tge")]
        if bucket.table is None:
            return self._leftover(below, bucket)
        rows, mistakes = read_table(bucket, self.symbol, self.ledger_decimals, below)
        bucket._rows = rows
        return mistakes

    def _leftover(self, below: str, bucket: Bucket) -> list[Mistake]:
        left = bucket.allocation - bucket.tge_amount
        if left and not (bucket.linear or bucket.steps):
            message = f"{self.amount(left)} never unlock: tge is less than the share and nothing follows it"
            return [Mistake(message, below=below)]
        return []

    def _check_sum(self, total: int) -> list[Mistake]:
        missing = self.cap.value - total
        if missing == 0:
            return []
        percent = float(Fraction(total * 100, self.cap.value)) if self.cap.value else 0.0
        word = "missing" if missing > 0 else "too many"
        gap = f"{self.amount(abs(missing))} {word}"
        message = f"allocations sum to {self.amount(total)} ({percent:.2f} % of the cap): {gap}"
        if not self.sums_to_cap:
            if missing < 0:
                return [Mistake(f"{message}; no reading can allot more than the cap", below="buckets")]
            self._notes = (message,)
            return []
        return [Mistake(message, below="buckets")]

    def _gross_notes(self) -> tuple[str, ...]:
        return tuple(
            f"bucket {name} issues parts of its whole share on top of {self.amount(bucket.tge_amount)} "
            f"at the start: it is empty, and stopped, at instalment {_empty_at(bucket, linear)} of {linear}"
            for name, bucket in self.buckets.items()
            if (linear := bucket.gross_instalments)
        )


def _empty_at(bucket: Bucket, instalments: int) -> int:
    """First instalment after which nothing is left: the least k with k/n of the allocation >= the rest."""
    part = Fraction(bucket.allocation, instalments)
    return math.ceil((bucket.allocation - bucket.tge_amount) / part)


__all__ = ["Bucket", "TokenSection"]
