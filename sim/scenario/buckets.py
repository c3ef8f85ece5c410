"""One bucket of a token: its share and the rule by which it unlocks.

Rule decided here: after its part at the start a bucket unlocks by one of linear (with or without a cliff),
steps, or a table; what is not said here never unlocks.
"""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from typing import Annotated, Any

from pydantic import PrivateAttr, model_validator
from pydantic_core import core_schema

from models.units import SECONDS_PER_DAY, Duration
from sim.scenario.fields import (
    Flag,
    MaybeAmount,
    MaybeDate,
    MaybeFile,
    MaybeMonths,
    Section,
    ShareP,
    choice,
)
from sim.scenario.forms import Mistake
from sim.scenario.kinds import MAX_MONTHS, text_of
from sim.scenario.leaves import Context, leaf_schema, refuse

ROLES = ("community", "ecosystem", "liquidity", "investors", "team")
"""What a bucket is for; a run needs each of them once."""


class MonthRange:
    """Annotation of ``13..18``: the months of a step, both ends included."""

    def read(self, node: Any, context: Context) -> tuple[int, int]:
        """Return first and last month."""
        text = text_of(node, "a range of months such as 13..18")
        first, dots, last = text.partition("..")
        last = last if dots else first
        if not (first.strip().isdigit() and last.strip().isdigit()):
            raise ValueError(f"'{text}' is not a range of months; expected a form such as 13..18")
        bounds = int(first), int(last)
        if not 1 <= bounds[0] <= bounds[1] <= MAX_MONTHS:
            raise ValueError(f"'{text}' must rise within 1 to {MAX_MONTHS}")
        return bounds

    def write(self, value: tuple[int, int], context: Context) -> str:
        """Return ``first..last``."""
        return f"{value[0]}..{value[1]}"

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        """Validate by `read`, serialise by `write`."""
        return leaf_schema(self.read, self.write)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """Describe the text."""
        return {"type": ["string", "integer"], "description": "months, such as 13..18"}


class PartValue:
    """Annotation of ``3/48`` or ``6.25 %``: an exact part of what is left after the start."""

    def read(self, node: Any, context: Context) -> Fraction:
        """Return the part as an exact rational."""
        text = text_of(node, "a part such as 3/48 or 6.25 %")
        try:
            percent = text.endswith("%")
            part = Fraction(text.removesuffix("%").strip().replace("_", "")) / (100 if percent else 1)
        except (ValueError, ZeroDivisionError):
            raise ValueError(f"'{text}' is not a part; expected a form such as 3/48 or 6.25 %") from None
        if not 0 <= part <= 1:
            raise ValueError(f"'{text}' is out of bounds; allowed 0 to 1")
        return part

    def write(self, value: Fraction, context: Context) -> str:
        """Return the exact rational."""
        return f"{value.numerator}/{value.denominator}"

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        """Validate by `read`, serialise by `write`."""
        return leaf_schema(self.read, self.write)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """Describe the text."""
        return {"type": ["string", "number"], "description": "a part, such as 3/48 or 6.25 %"}


class Step(Section):
    """Months in which a part of the remainder unlocks in equal monthly instalments.

    Parameters
    ----------
    months
        First and last month after the bucket's start, both included.
    part
        Part of (allocation - part at the start) that unlocks over these months together.
    """

    months: Annotated[tuple[int, int], MonthRange()]
    part: Annotated[Fraction, PartValue()]


class Bucket(Section):
    """One allocation and its unlock rule.

    Parameters
    ----------
    share
        Share of the cap.
    tge
        Amount unlocked on the start day, inside the share.
    start
        First day of this bucket's calendar, or None for the token's.
    cliff
        Time before the first instalment.
    catch_up
        Whether instalments accrue during the cliff and are paid at its end.
    linear
        Length of the instalments; after the cliff, or including it where `catch_up` is set.
    linear_of
        ``remainder``: instalments divide allocation - tge. ``allocation``: each instalment is a part of the
        whole allocation, on top of tge, until the bucket is empty.
    every
        One instalment per calendar month, day or second.
    steps
        Piecewise monthly rates instead of `linear`.
    table
        CSV file of dates and amounts instead of `linear`.
    role
        What the bucket is for; its own name where that is a role.
    """

    share: ShareP
    tge: MaybeAmount = None
    start: MaybeDate = None
    cliff: MaybeMonths = None
    catch_up: Flag = False
    linear: MaybeMonths = None
    linear_of: Annotated[str, choice("remainder", "allocation")] = "remainder"
    every: Annotated[str, choice("month", "day", "second")] = "month"
    steps: tuple[Step, ...] = ()
    table: MaybeFile = None
    role: Annotated[str | None, choice(*ROLES)] = None
    _allocation: int = PrivateAttr(default=0)
    _rows: tuple[tuple[date, int], ...] = PrivateAttr(default=())

    @property
    def allocation(self) -> int:
        """The bucket's tokens in ledger units, ``share * cap`` exactly."""
        return self._allocation

    @property
    def tge_amount(self) -> int:
        """Ledger units unlocked on the start day."""
        return self.tge.value if self.tge is not None else 0

    @property
    def rows(self) -> tuple[tuple[date, int], ...]:
        """Dates and ledger units of `table`, in order of date; empty without a table."""
        return self._rows

    @property
    def gross_instalments(self) -> int:
        """Number of instalments that are parts of the whole allocation on top of tge; 0 where none are."""
        is_gross = self.linear_of == "allocation" and self.tge_amount > 0
        return self.linear.value.months if is_gross and self.linear is not None else 0

    @model_validator(mode="after")
    def _one_rule(self) -> Bucket:
        mistakes = [*_rule_mistakes(self), *_step_mistakes(self), *_linear_mistakes(self)]
        if mistakes:
            raise refuse(mistakes)
        return self


def _rule_mistakes(bucket: Bucket) -> list[Mistake]:
    given = [name for name in ("linear", "steps", "table") if getattr(bucket, name)]
    if len(given) > 1:
        return [Mistake(f"has {' and '.join(given)}; a bucket unlocks by one of them")]
    if bucket.cliff is not None and not given:
        return [
            Mistake(
                "has no linear after it; for one payment write steps: [{months: 12..12, part: 1}]",
                below="cliff",
            )
        ]
    if bucket.cliff is not None and "linear" not in given:
        return [Mistake(f"goes with linear, not with {given[0]}", below="cliff")]
    if bucket.catch_up and bucket.cliff is None:
        return [Mistake("catch_up needs a cliff to catch up from", below="catch_up")]
    return []


def _linear_mistakes(bucket: Bucket) -> list[Mistake]:
    linear, cliff = bucket.linear, bucket.cliff
    if linear is None:
        return []
    mistakes = []
    if linear.value.months + linear.value.seconds <= 0:
        mistakes.append(Mistake("lasts no time; expected 1 month or more", below="linear"))
    if bucket.linear_of == "allocation" and bucket.every != "month":
        mistakes.append(Mistake("linear_of: allocation needs every: month", below="linear_of"))
    if bucket.every == "month" and linear.value.seconds:
        message = f"{linear.value} is not counted in months, but instalments come every month; set every: day"
        mistakes.append(Mistake(message, below="linear"))
    if cliff is not None and bucket.catch_up and _longer(cliff.value, linear.value):
        message = (
            f"{cliff.value} is longer than linear {linear.value}, which includes it where catch_up is set"
        )
        mistakes.append(Mistake(message, below="cliff"))
    return mistakes


def _longer(cliff: Duration, linear: Duration) -> bool:
    """Compare durations; a month against days counts as 30 days."""
    seconds = [duration.months * 30 * SECONDS_PER_DAY + duration.seconds for duration in (cliff, linear)]
    return seconds[0] > seconds[1]


def _step_mistakes(bucket: Bucket) -> list[Mistake]:
    if not bucket.steps:
        return []
    mistakes = []
    last = 0
    for index, step in enumerate(bucket.steps):
        if step.months[0] <= last:
            message = (
                f"month {step.months[0]} is already in the step before; ranges must rise and not overlap"
            )
            mistakes.append(Mistake(message, below=f"steps.{index}.months"))
        last = step.months[1]
    total = sum((step.part for step in bucket.steps), Fraction(0))
    if total != 1:
        mistakes.append(Mistake(f"parts sum to {total}, not to 1", below="steps"))
    return mistakes
