"""Opening tables: what every account holds when a run starts after the token generation event.

Rule decided here: what a table must satisfy before it is believed. It says the evening before the start, in the
ledger's units, exactly; its accounts are those of the ledger and add up to what was ever minted; what is locked is
what the calendars have not released by then. Money that waits for a day that no table tells is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import InputError, Problem
from models.units import parse_amount
from models.vesting import vested_on
from sim.accounts import ACCOUNTS, AGENT_CLASSES, BUCKET_ROLES, INSTITUTIONS, PAYEES
from sim.scenario.words import did_you_mean
from sim.schedules import schedules_of

if TYPE_CHECKING:
    from sim.scenario.token import TokenSection

ONLY = {"distributor": PAYEES, "prepaid": ("users",)}
"""Classes of the accounts that not every class has."""


@dataclass(frozen=True, slots=True)
class OpeningRow:
    """One row: account, class ("" for a world account) and the total in ledger units."""

    account: str
    agent_class: str
    amount: int


@dataclass(frozen=True, slots=True)
class Opening:
    """An opening table that was found to be right."""

    rows: tuple[OpeningRow, ...]

    def amount(self, account: str) -> int:
        """Return what an account holds, all classes together, ledger units."""
        return sum(row.amount for row in self.rows if row.account == account)


def read_opening(path: Path, token: TokenSection, start: date) -> Opening:
    """Read an opening table and check it against the identities.

    Parameters
    ----------
    path
        CSV file with the header ``account,class,<symbol>``.
    token
        Cap, buckets, symbol and decimals.
    start
        First day of the run; the table says the evening before.

    Raises
    ------
    InputError
        With everything that is wrong with the table.
    """
    table = _Table(path, token)
    table.read()
    table.compare(start)
    if table.problems:
        raise InputError(table.problems)
    return Opening(tuple(table.rows))


class _Table:
    """A table while it is being read."""

    def __init__(self, path: Path, token: TokenSection) -> None:
        self._path, self._token = path, token
        self._header = ("account", "class", token.symbol)
        self._places: dict[tuple[str, str], int] = {}
        self.rows: list[OpeningRow] = []
        self.problems: list[Problem] = []

    def read(self) -> None:
        """Read every row; what is wrong with one does not hide the others."""
        try:
            lines = self._path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError:
            self._problem(1, 1, "", "is not a text in UTF-8")
            return
        if not lines or tuple(cell.strip() for cell in lines[0].split(",")) != self._header:
            self._problem(1, 1, "", f"expected the header '{','.join(self._header)}'")
            return
        for number, line in enumerate(lines[1:], start=2):
            if line.strip():
                self._row(number, line.split(","))

    def _row(self, number: int, cells: list[str]) -> None:
        if len(cells) != len(self._header):
            message = f"expected {len(self._header)} columns, not {len(cells)}; digits are grouped by _"
            self._problem(number, 1, cells[0].strip(), message)
            return
        account, name, text = (cell.strip() for cell in cells)
        label = f"{account}/{name}" if name else account
        columns = _columns(cells)
        wrong = [(columns[0], _account_mistake(account))]
        if account in ACCOUNTS:
            wrong.append((columns[1], _class_mistake(account, name)))
        amount, mistake = self._amount(account, text)
        wrong.append((columns[2], mistake))
        if (account, name) in self._places:
            wrong.append((1, f"stands twice, first in line {self._places[account, name]}"))
        self._places.setdefault((account, name), number)
        found = [(column, message) for column, message in wrong if message]
        for column, message in found:
            self._problem(number, column, label, message)
        if not found:
            self.rows.append(OpeningRow(account, name, amount))

    def _amount(self, account: str, text: str) -> tuple[int, str]:
        """Return an amount, or what is wrong with it."""
        symbol = self._token.symbol
        try:
            written = text if text.endswith(symbol) else f"{text} {symbol}"
            amount = parse_amount(written, symbol, self._token.ledger_decimals)
        except ValueError as error:
            return 0, str(error)
        if amount < 0:
            return 0, f"'{text}' is negative; allowed 0 or more"
        reason = _why_empty(account)
        return amount, f"'{text}' must be 0: {reason}" if amount and reason else ""

    def compare(self, start: date) -> None:
        """Check what joins the rows, unless one of them could not be read."""
        if self.problems:
            return
        eve = start - timedelta(days=1)
        held = {role: self._total(f"vesting.{role}") for role in BUCKET_ROLES}
        for role, locked in _locked(self._token, start, eve).items():
            if held[role] != locked:
                message = (
                    f"{self._token.amount(held[role])} are locked; expected {self._token.amount(locked)}, "
                    f"the allocation less what had vested by {eve}"
                )
                account = f"vesting.{role}"
                self._problem(self._places.get((account, ""), 1), 1, account, message)
        if not self._total("venue"):
            message = "is empty; the market needs tokens in the pool"
            self._problem(self._places.get(("venue", ""), 1), 1, "venue", message)
        self._compare_sum()

    def _compare_sum(self) -> None:
        minted = sum(bucket.allocation for bucket in self._token.buckets.values())
        total = sum(row.amount for row in self.rows)
        if total == minted:
            return
        what = "the cap" if minted == self._token.cap.value else "the sum of the buckets"
        off = f"{self._token.amount(abs(minted - total))} {'are missing' if total < minted else 'too much'}"
        message = (
            f"adds up to {self._token.amount(total)}; expected {self._token.amount(minted)}, {what}: {off}"
        )
        self._problem(1, len("account,class,") + 1, self._token.symbol, message)

    def _total(self, account: str) -> int:
        return sum(row.amount for row in self.rows if row.account == account)

    def _problem(self, line: int, column: int, label: str, message: str) -> None:
        self.problems.append(Problem(message, label, f"{self._path}:{line}:{column}"))


def _columns(cells: list[str]) -> list[int]:
    """Return the column at which each cell's text begins."""
    ends = accumulate(len(cell) + 1 for cell in cells)
    return [end - len(cell.lstrip()) for cell, end in zip(cells, ends, strict=True)]


def _account_mistake(account: str) -> str:
    return "" if account in ACCOUNTS else f"'{account}' is no account{did_you_mean(account, ACCOUNTS)}"


def _class_mistake(account: str, name: str) -> str:
    """Return what is wrong with the class of a known account, or ""."""
    known = ONLY.get(account, (*AGENT_CLASSES, *INSTITUTIONS))
    if not ACCOUNTS[account].per_agent and account not in ONLY:
        return f"belongs to no class; leave out '{name}'" if name else ""
    if not name:
        return f"needs the class of its owners; expected one of {', '.join(known)}"
    if name in known:
        return ""
    return f"'{name}' is no class of its owners{did_you_mean(name, known)}"


def _why_empty(account: str) -> str:
    """Return why an account must hold nothing in a table, or "" where it may."""
    name, _, owner = account.partition(".")
    if name in ("transit_deposit", "transit_withdraw"):
        chain = "l2" if name == "transit_deposit" else "l1"
        return f"no day of sending is known; put it into {owner or 'wallet'}.{chain}"
    if account == "bond":
        return "no dispute is known; put it into wallet.l2"
    return "fees are split on the day on which they are paid" if account == "clearing" else ""


def _locked(token: TokenSection, start: date, eve: date) -> dict[str, int]:
    """Return by role what the calendars have not released at the end of a day."""
    locked = dict.fromkeys(BUCKET_ROLES, 0)
    for name, schedule in schedules_of(token, start).items():
        role = token.buckets[name].role
        if role in locked:
            locked[role] += schedule.allocation - vested_on(schedule, eve)
    return locked
