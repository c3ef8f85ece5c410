"""Settlements: the day's bills as calls of the fee splitter.

Rule decided here: what leaves `clearing` on a day are the sums of that day's bills, split one by one in the ledger; on
chain the splitter pays them out, after it has checked them against the bounds of the formula. Days under one rule go
into one call. The contract is told how many bills there were, because each of them may have rounded a unit away.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from sim.chain.clients.fee_splitter import BillParts, Settlement
from sim.chain.journal import ReconciliationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sim.chain.backend import Receipt
    from sim.chain.clients.fee_splitter import FeeSplitter
    from sim.chain.journal import JournalEntry

CLEARING = "clearing"
"""Account that fees pass through between payment and split; on chain the splitter."""
DAY_S = 86_400
PARTS = {"B2": "platform", "B3": "model", "B4": "stakers", "B5": "contributors", "B6": "burn"}
"""Flows out of clearing, and the part of a bill that each of them is."""
OPERATORS = "operators_pot"
PAYEES = {
    "platform": (OPERATORS, "treasury.l2"), "model": ("distributor",), "stakers": ("staking_rewards",),
    "contributors": ("distributor",), "burn": ("burned.l2",),
}  # fmt: skip
"""Accounts that the splitter pays each part to."""


@dataclass(frozen=True, slots=True)
class DayBills:
    """The bills of one day and what left clearing for them.

    Parameters
    ----------
    day
        The day.
    gross
        Sum of the bills, ledger units.
    payments
        (flow, target account, ledger units) in the journal's order.
    """

    day: int
    gross: int
    payments: tuple[tuple[str, str, int], ...]

    @property
    def paid(self) -> int:
        """Sum of the parts, ledger units."""
        return sum(amount for _, _, amount in self.payments)

    def of(self, flow: str, target: str = "") -> int:
        """Return what a flow paid, to everybody or to one account, ledger units."""
        return sum(paid for id_, to, paid in self.payments if id_ == flow and target in ("", to))


def is_split(entry: JournalEntry) -> bool:
    """Return whether an entry is a part of the day's bills."""
    return entry.source == CLEARING and entry.flow in PARTS


def day_bills(entries: Iterable[JournalEntry]) -> list[DayBills]:
    """Return the bills of each day among `entries`, in the order of days."""
    gross: Counter[int] = Counter()
    parts: defaultdict[int, list[tuple[str, str, int]]] = defaultdict(list)
    for entry in entries:
        if entry.target == CLEARING:
            gross[entry.day] += entry.amount_gwei
        elif is_split(entry) and entry.amount_gwei:
            parts[entry.day].append((entry.flow, entry.target, entry.amount_gwei))
    return [DayBills(day, gross[day], tuple(parts[day])) for day in sorted(parts)]


class Settler:
    """Settles days at the splitter.

    Parameters
    ----------
    splitter
        The contract.
    sender
        Address with the settler's role.
    day0_timestamp
        Midnight at which day 0 begins, seconds.
    unit_wei
        Wei per ledger unit.
    """

    def __init__(self, splitter: FeeSplitter, sender: bytes, day0_timestamp: int, unit_wei: int) -> None:
        self._splitter, self._sender, self._unit = splitter, sender, unit_wei
        self._first_day = day0_timestamp // DAY_S
        self._counts: dict[int, int] = {}

    def count(self, bills: Mapping[int, int]) -> None:
        """Learn how many bills there were on each day."""
        self._counts.update(bills)

    def settle(self, days: Sequence[DayBills]) -> list[Receipt]:
        """Pay out the bills of some days, oldest first.

        Raises
        ------
        ReconciliationError
            If parts and bills have different sums, or the operators are paid another amount than the ledger
            says.
        Reverted
            If the splitter refuses, for example because a part is out of bounds.
        """
        for bills in days:
            if bills.paid != bills.gross:
                message = f"the parts of the bills are {bills.paid} gwei; the bills are {bills.gross} gwei"
                raise ReconciliationError(CLEARING, bills.day, message)
        receipts = []
        for _, under_one_rule in groupby(days, key=lambda b: self._splitter.rule_on(self._first_day + b.day)):
            receipts.append(self._settle(list(under_one_rule)))
        return receipts

    def account_of(self, payee: str) -> str:
        """Return the ledger's account of a part's name."""
        return PAYEES.get(payee, (CLEARING,))[0]

    def _settle(self, days: Sequence[DayBills]) -> Receipt:
        booked = {part: sum(bills.of(flow) for bills in days) * self._unit for flow, part in PARTS.items()}
        claim = sum(bills.of("B2", OPERATORS) for bills in days) * self._unit
        settlement = Settlement(
            day=self._first_day + days[-1].day,
            bills=sum(self._counts.pop(bills.day, 1) for bills in days),
            booked=BillParts(**booked),
            operator_claim_wei=claim,
        )
        paid, receipt = self._splitter.settle(self._sender, settlement)
        if paid.operators != claim:
            raise ReconciliationError(
                OPERATORS, days[-1].day,
                f"the splitter pays the operators {paid.operators} wei; the ledger says {claim} wei",
            )  # fmt: skip
        return receipt
