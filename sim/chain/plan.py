"""Plan of a replay: the order in which a batch of journal entries is executed.

Rule decided here: bundled moves (`sim.chain.moves`) whose source is still short wait, and go in parts, until
what feeds them has arrived; money between the chains arrives no earlier than the bridge allows. Bills are settled
when a move that keeps its day wants their money, and on the last day; claims come after that, because the
distributor is funded for all of them at once. A batch that cannot be executed in this way is planned in two halves,
and a single day entry by entry in the ledger's own order. If that fails too, the journal contradicts itself, and the
account that cannot pay is named with the day.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from sim.chain.journal import JournalEntry, Kind, ReconciliationError, home, kind_of
from sim.chain.moves import (
    ARRIVALS,
    SENDINGS,
    WHOLE,
    Action,
    Holdings,
    Move,
    Transit,
    action_of,
    bundle,
    one_by_one,
)
from sim.chain.settlements import CLEARING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.chain.settlements import DayBills

POSTED = "distributor.posted"
"""Label of what the distributor contract holds; ``distributor`` alone is what waits to be posted."""


@dataclass(frozen=True, slots=True)
class Delays:
    """Days from sending to arrival at the earliest: deposits to L2, withdrawals to L1."""

    deposit_days: int
    exit_days: int

    def of(self, label: str) -> int:
        """Return the delay of a transit account."""
        return self.deposit_days if kind_of(label) is Kind.DEPOSIT else self.exit_days


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to execute.

    Parameters
    ----------
    day
        On which day.
    action, flow, source, target
        What.
    amount
        Gwei.
    transit
        Number of the sending that leaves or arrives; 0 for other actions.
    bills
        For settlements: what is paid to whom, by day.
    """

    day: int
    action: Action
    flow: str
    source: str
    target: str
    amount: int
    transit: int = 0
    bills: tuple[DayBills, ...] = ()


class _Stuck(Exception):  # noqa: N818 - a turn of the planner, never seen outside
    def __init__(self, account: str, day: int, message: str) -> None:
        self.account, self.day, self.message = account, day, message
        super().__init__(message)


def plan(
    entries: Sequence[JournalEntry], holdings: Holdings, delays: Delays, days: range
) -> tuple[list[Step], Holdings]:
    """Order a batch of entries into steps.

    Parameters
    ----------
    entries
        Journal entries in the ledger's order.
    holdings
        Before the batch; not changed.
    delays
        Of the bridge.
    days
        Days of the batch, without a gap to the one before.

    Returns
    -------
    tuple[list[Step], Holdings]
        Steps in order of execution, and the holdings after them.

    Raises
    ------
    ReconciliationError
        If money arrives earlier than the bridge allows, or the entries cannot be executed even in the
        ledger's own order.
    """
    _check_delays(entries, holdings, delays)
    return _in_order(entries, holdings, delays, days)


def _in_order(
    entries: Sequence[JournalEntry], holdings: Holdings, delays: Delays, days: range
) -> tuple[list[Step], Holdings]:
    state = holdings.copy()
    try:
        moves, unmatched = bundle(entries, state.transits)
        if not unmatched:
            return _Walk(state, delays).bundled(moves, days), state
    except _Stuck:
        pass  # bundling moved something before its money: bundle less
    if len(days) > 1:
        middle = days[len(days) // 2]
        early = [entry for entry in entries if entry.day < middle]
        steps, state = _in_order(early, holdings, delays, range(days.start, middle))
        more, state = _in_order(entries[len(early) :], state, delays, range(middle, days.stop))
        return steps + more, state
    state = holdings.copy()
    try:
        return _Walk(state, delays).strict(one_by_one(entries)), state
    except _Stuck as stuck:
        raise ReconciliationError(stuck.account, stuck.day, stuck.message) from None


def _check_delays(entries: Sequence[JournalEntry], holdings: Holdings, delays: Delays) -> None:
    """Refuse arrivals that are too early by the ledger's own days; bundling moves sendings forward."""
    sent: defaultdict[str, deque[list[int]]] = defaultdict(deque)
    for transit in holdings.transits:
        sent[transit.label].append([transit.day, transit.amount])
    for entry in entries:
        action = action_of(entry)
        if action in SENDINGS:
            sent[entry.target].append([entry.day, entry.amount_gwei])
        elif action in ARRIVALS:
            _take_oldest(sent[entry.source], entry, delays.of(entry.source))


def _take_oldest(queue: deque[list[int]], entry: JournalEntry, delay: int) -> None:
    left = entry.amount_gwei
    while left and queue:
        day, amount = queue[0]
        if entry.day < day + delay:
            message = f"{entry.flow} to {entry.target}: sent on day {day}, the bridge takes {delay} days"
            raise ReconciliationError(entry.source, entry.day, message)
        part = min(left, amount)
        queue[0][1] -= part
        left -= part
        if part == amount:
            queue.popleft()


class _Walk:
    """Goes through the days of a batch, changes the holdings and writes the steps down."""

    def __init__(self, state: Holdings, delays: Delays) -> None:
        self.state, self.delays = state, delays
        self.steps: list[Step] = []

    def bundled(self, moves: list[Move], days: range) -> list[Step]:
        bills = [move for move in moves if move.action is Action.SETTLE]
        moves = [move for move in moves if move.action is not Action.SETTLE]
        for day in days:
            self._arrive(day)
            moves = self._pass_until_still(moves, day, but=Action.CLAIM)
            wanted = day == days[-1] or any(move.keeps_day and move.day <= day for move in moves)
            while wanted and (paid := self._settle(bills, day)):
                bills = bills[paid:]
                moves = self._pass_until_still(moves, day, but=Action.CLAIM)
            moves = self._pass_until_still(moves, day)
            self._refuse_late(moves, day)
        moves += bills
        if moves:
            self._short(moves[0], days[-1])
        late = [t for t in self.state.transits if t.arrives]
        if late:
            raise _Stuck(late[0].label, days[-1], "arrives before the bridge allows")
        return self.steps

    def _refuse_late(self, moves: list[Move], day: int) -> None:
        """Give up where money that has to cross the bridge on its day was spent on something else."""
        for move in moves:
            if move.action in SENDINGS and move.keeps_day and move.day <= day:
                self._short(move, day)

    def strict(self, moves: list[Move]) -> list[Step]:
        for move in moves:
            if move.action in ARRIVALS:
                self._arrive_exactly(move)
            elif self._possible(move) < move.amount:
                self._short(move, move.day)
            else:
                self._make(move, move.day, move.amount)
        return self.steps

    def _settle(self, bills: list[Move], day: int) -> int:
        """Settle the oldest days that clearing has the money of, as one step, and return how many they were."""
        held, paid = self.state.balances[CLEARING], 0
        while paid < len(bills) and bills[paid].day <= day and bills[paid].amount <= held:
            held -= bills[paid].amount
            paid += 1
        if paid:
            self._pay([move.bills for move in bills[:paid] if move.bills], day)
        return paid

    def _pay(self, bills: list[DayBills], day: int) -> None:
        paid = sum(of_day.paid for of_day in bills)
        self.state.balances[CLEARING] -= paid
        for of_day in bills:
            for _, target, amount in of_day.payments:
                self.state.balances[target] += amount
        self.steps.append(Step(day, Action.SETTLE, "B", CLEARING, "", paid, bills=tuple(bills)))

    def _pass_until_still(self, moves: list[Move], day: int, but: Action | None = None) -> list[Move]:
        """Make every move of the day that has money, `but` those, again and again until nothing changes."""
        moved = True
        while moved:
            moved = False
            for move in moves:
                amount = self._possible(move) if move.day <= day and move.action is not but else 0
                if amount:
                    self._make(move, day, amount)
                    move.amount -= amount
                    moved = True
            moves = [move for move in moves if move.amount]
        return moves

    def _possible(self, move: Move) -> int:
        held = self.state.balances[move.source]
        if move.action is Action.CLAIM:
            held += self.state.balances[POSTED]
        if move.action in WHOLE and held < move.amount:
            return 0
        return min(held, move.amount)

    def _make(self, move: Move, day: int, amount: int) -> None:
        if move.bills is not None:
            self._pay([move.bills], day)
            return
        balances, transit = self.state.balances, 0
        if move.action is Action.CLAIM:
            balances[POSTED] += balances[move.source] - amount
            balances[move.source] = 0
        else:
            balances[move.source] -= amount
        if move.action in SENDINGS:
            self.state.sent += 1
            transit = self.state.sent
            self.state.transits.append(Transit(transit, move.target, day, amount, move.arrives))
        else:
            balances[move.target] += amount
        self.steps.append(Step(day, move.action, move.flow, move.source, move.target, amount, transit))

    def _arrive(self, day: int) -> None:
        """Let everything arrive that is marked and old enough."""
        for transit in [
            t for t in self.state.transits if t.arrives and day >= t.day + self.delays.of(t.label)
        ]:
            self._land(transit, day, "X")

    def _arrive_exactly(self, move: Move) -> None:
        """Let the oldest transits of an account arrive; their sum has to be the entry's amount."""
        left = move.amount
        for transit in [t for t in self.state.transits if t.label == move.source]:
            if left == 0:
                return
            if transit.amount > left:
                break
            self._land(transit, move.day, move.flow)
            left -= transit.amount
        if left:
            raise _Stuck(
                move.source, move.day,
                f"{move.flow} to {move.target}: {left} gwei of {move.amount} match no sending as a whole",
            )  # fmt: skip

    def _land(self, transit: Transit, day: int, flow: str) -> None:
        deposit = kind_of(transit.label) is Kind.DEPOSIT
        target = home(transit.label, "l2" if deposit else "l1")
        action = Action.CREDIT if deposit else Action.PAY_OUT
        self.state.transits.remove(transit)
        self.state.balances[target] += transit.amount
        self.steps.append(Step(day, action, flow, transit.label, target, transit.amount, transit.number))

    def _short(self, move: Move, day: int) -> NoReturn:
        missing = move.amount - min(self.state.balances[move.source], move.amount)
        raise _Stuck(
            move.source, day,
            f"{move.flow} to {move.target} of {move.amount} gwei cannot be executed: short by {missing} gwei",
        )  # fmt: skip
