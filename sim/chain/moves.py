"""Moves: what each journal entry is on the chains, and which entries can share a transaction.

Rule decided here: entries of one (flow, source, target) become one move on the first day that they appear, so
that a month of daily transfers costs one transaction. Unlocks and claims keep their own days, because a
contract computes their amounts; so do sendings across the bridge that do not arrive within the batch, because
the bridge counts their days. The parts of a day's bills are one move, because one contract pays them all.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from sim.chain.journal import JournalEntry, Kind, ReconciliationError, home, kind_of, owner_wallet
from sim.chain.settlements import CLEARING, PARTS, PAYEES, DayBills, day_bills, is_split

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Action(Enum):
    """What a move does on the chains."""

    RELEASE = auto()
    TRANSFER_L1 = auto()
    TRANSFER_L2 = auto()
    BURN = auto()
    WRAP = auto()
    UNWRAP = auto()
    DEPOSIT = auto()
    CREDIT = auto()
    WITHDRAW = auto()
    PAY_OUT = auto()
    FUND = auto()
    CLAIM = auto()
    SETTLE = auto()


SENDINGS = frozenset({Action.DEPOSIT, Action.WITHDRAW})
ARRIVALS = frozenset({Action.CREDIT, Action.PAY_OUT})
WHOLE = frozenset({Action.RELEASE, Action.CLAIM, Action.SETTLE})
"""Moves whose amount a contract computes or checks: never in parts."""

_ACTIONS = {
    (Kind.VESTING, Kind.L1): Action.RELEASE,
    (Kind.L1, Kind.L1): Action.TRANSFER_L1,
    (Kind.L1, Kind.BURNED_L1): Action.BURN,
    (Kind.L1, Kind.DEPOSIT): Action.DEPOSIT,
    (Kind.DEPOSIT, Kind.L2): Action.CREDIT,
    (Kind.L2, Kind.L2): Action.TRANSFER_L2,
    (Kind.L2, Kind.BURNED_L2): Action.TRANSFER_L2,
    (Kind.L2, Kind.WRAPPED): Action.WRAP,
    (Kind.WRAPPED, Kind.L2): Action.UNWRAP,
    (Kind.L2, Kind.WITHDRAWAL): Action.WITHDRAW,
    (Kind.WITHDRAWAL, Kind.L1): Action.PAY_OUT,
    (Kind.L2, Kind.DISTRIBUTOR): Action.FUND,
    (Kind.DISTRIBUTOR, Kind.L2): Action.TRANSFER_L2,
}


@dataclass(slots=True)
class Move:
    """A move that waits for its day and its money.

    Parameters
    ----------
    day
        First day on which it may happen.
    action
        What it is on the chains.
    flow, source, target
        As in the journal.
    amount
        What is still to be moved, gwei.
    arrives
        For sendings across the bridge: whether the same batch says that it arrives.
    bills
        For settlements: what is paid to whom; `target` is empty then.
    """

    day: int
    action: Action
    flow: str
    source: str
    target: str
    amount: int
    arrives: bool = False
    bills: DayBills | None = None

    @property
    def keeps_day(self) -> bool:
        """Whether it has to be made on its own day."""
        return self.action in WHOLE or (self.action in SENDINGS and not self.arrives)


@dataclass(slots=True)
class Transit:
    """Money between the chains.

    Parameters
    ----------
    number
        Counts the sendings of one witness run.
    label
        ``transit_deposit...`` or ``transit_withdraw...``.
    day
        Day on which it was sent.
    amount
        Gwei.
    arrives
        Whether the batch at hand says that it arrives.
    """

    number: int
    label: str
    day: int
    amount: int
    arrives: bool = False


@dataclass(slots=True)
class Holdings:
    """What the accounts hold and what is between the chains, gwei.

    Parameters
    ----------
    balances
        By label, without money between the chains. ``distributor`` is what waits to be posted,
        ``distributor.posted`` what the contract holds.
    transits
        In order of sending.
    sent
        Number of sendings so far.
    """

    balances: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    transits: list[Transit] = field(default_factory=list)
    sent: int = 0

    def copy(self) -> Holdings:
        """Return an independent copy in which nothing is marked to arrive."""
        transits = [Transit(t.number, t.label, t.day, t.amount) for t in self.transits]
        return Holdings(self.balances.copy(), transits, self.sent)


def action_of(entry: JournalEntry) -> Action:
    """Return what an entry is on the chains.

    Raises
    ------
    ReconciliationError
        If no contract, transfer or bridge makes such a move.
    """
    source, target = kind_of(entry.source), kind_of(entry.target)
    action = _ACTIONS.get((source, target))
    if action is None:
        _refuse(entry, "no move on the chains goes that way")
        raise AssertionError
    if entry.source == CLEARING:
        if not is_split(entry):
            _refuse(entry, "fees leave clearing by a split alone")
        payees = PAYEES[PARTS[entry.flow]]
        if entry.target not in payees:
            _refuse(entry, f"the splitter pays {' and '.join(payees)}")
        return Action.SETTLE
    if entry.flow == "C1" and source is Kind.DISTRIBUTOR:
        return Action.CLAIM
    if action is Action.WRAP and owner_wallet(entry.target) != entry.source:
        _refuse(entry, f"GOPEN is wrapped by its owner, {owner_wallet(entry.target)}")
    if action is Action.UNWRAP and owner_wallet(entry.source) != entry.target:
        _refuse(entry, f"GOPEN is unwrapped to its owner, {owner_wallet(entry.source)}")
    if action in ARRIVALS:
        payee = home(entry.source, "l2" if action is Action.CREDIT else "l1")
        if entry.target != payee:
            _refuse(entry, f"the bridge pays {payee}")
    return action


def _refuse(entry: JournalEntry, reason: str) -> None:
    raise ReconciliationError(entry.source, entry.day, f"{entry.flow} to {entry.target}: {reason}")


def mark_arrivals(entries: Iterable[JournalEntry], transits: Sequence[Transit]) -> defaultdict[str, int]:
    """Mark the transits that the batch says arrive, first sent first.

    Returns
    -------
    defaultdict[str, int]
        By label, what arrives in the batch beyond the transits marked: sendings of the batch itself.
    """
    left: defaultdict[str, int] = defaultdict(int)
    for entry in entries:
        if action_of(entry) in ARRIVALS:
            left[entry.source] += entry.amount_gwei
    blocked: set[str] = set()
    for transit in transits:
        transit.arrives = transit.label not in blocked and transit.amount <= left[transit.label]
        if transit.arrives:
            left[transit.label] -= transit.amount
        else:
            blocked.add(transit.label)
    return left


def bundle(entries: Sequence[JournalEntry], transits: Sequence[Transit]) -> tuple[list[Move], set[str]]:
    """Join the entries of a batch into few moves and mark the transits that arrive.

    Returns
    -------
    tuple[list[Move], set[str]]
        Moves ordered by first day, and the transit accounts whose arrivals match no sendings.
    """
    arriving = mark_arrivals(entries, transits)
    moves: dict[tuple[object, ...], Move] = {}
    for entry in entries:
        action = action_of(entry)
        if action in ARRIVALS or action is Action.SETTLE:
            continue
        for amount, arrives in _parts(entry, action, arriving):
            move = Move(entry.day, action, entry.flow, entry.source, entry.target, amount, arrives)
            key = (
                action,
                entry.flow,
                entry.source,
                entry.target,
                arrives,
                entry.day if move.keeps_day else None,
            )
            known = moves.setdefault(key, move)
            if known is not move:
                known.amount += amount
    unmatched = {label for label, amount in arriving.items() if amount}
    every = [*moves.values(), *map(_settlement, day_bills(entries))]
    return sorted(every, key=lambda move: move.day), unmatched


def _settlement(bills: DayBills) -> Move:
    return Move(bills.day, Action.SETTLE, "B", CLEARING, "", bills.paid, bills=bills)


def _parts(entry: JournalEntry, action: Action, arriving: defaultdict[str, int]) -> list[tuple[int, bool]]:
    """Split a sending into what arrives within the batch and what does not."""
    if action not in SENDINGS:
        return [(entry.amount_gwei, False)]
    inside = min(entry.amount_gwei, arriving[entry.target])
    arriving[entry.target] -= inside
    parts = ((inside, True), (entry.amount_gwei - inside, False))
    return [part for part in parts if part[0]]


def one_by_one(entries: Sequence[JournalEntry]) -> list[Move]:
    """Return every entry as a move of its own, in the ledger's order; a day's bills at the last of their parts."""
    last = {entry.day: position for position, entry in enumerate(entries) if is_split(entry)}
    settlements = {last[bills.day]: _settlement(bills) for bills in day_bills(entries)}
    moves = []
    for position, e in enumerate(entries):
        action = action_of(e)
        if action is Action.SETTLE:
            moves += [settlements[position]] if position in settlements else []
        elif e.amount_gwei:
            moves.append(Move(e.day, action, e.flow, e.source, e.target, e.amount_gwei))
    return moves
