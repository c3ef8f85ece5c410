"""Cohorts: voters without an address of their own, with exactly the votes that the ledger gives them.

Rule decided here: agents of a class share one address, but not one opinion. For a proposal and for a
snapshot, the GOPEN of the owners is lent to one address per group of voters who act alike, each delegating to
itself; afterwards it goes back. Two snapshots in one second are divided into groups that act alike in both.
GOPEN whose votes nobody has stays undelegated with its owner, where it raises the quorum and does not vote.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from sim.chain.journal import Kind, ReconciliationError, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sim.chain.accounts import AccountBook
    from sim.chain.deployment import Deployment

Votes = tuple[str, int]
"""A voter and its votes, gwei."""


def group_of(voter: str) -> str:
    """Return the group that a voter is part of.

    Examples
    --------
    >>> group_of("users/*/for"), group_of("delegates/3")
    ('users/*', 'delegates/3')
    """
    return "/".join(voter.split("/")[:2])


def refine(rolls: Mapping[int, Sequence[Votes]]) -> tuple[dict[str, int], dict[tuple[int, str], list[str]]]:
    """Divide voters into cells so that each voter of every roll is a union of cells.

    Parameters
    ----------
    rolls
        By proposal, voters with their votes, gwei.

    Returns
    -------
    tuple[dict[str, int], dict[tuple[int, str], list[str]]]
        Votes of each cell, and the cells of each (proposal, voter).

    Examples
    --------
    >>> refine({1: [("users/*/for", 6), ("users/*/none", 4)], 2: [("users/*/against", 10)]})[0]
    {'voters/users/*/0': 6, 'voters/users/*/1': 4}
    """
    by_group: defaultdict[str, defaultdict[int, list[Votes]]] = defaultdict(lambda: defaultdict(list))
    for key, roll in rolls.items():
        for voter, votes in roll:
            by_group[group_of(voter)][key].append((voter, votes))
    cells: dict[str, int] = {}
    members: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    for group, parts in by_group.items():
        cuts = sorted({0} | {end for part in parts.values() for _, _, end in _spans(part)})
        for number, (begin, end) in enumerate(pairwise(cuts)):
            cells[f"voters/{group}/{number}"] = end - begin
        for key, part in parts.items():
            for voter, begin, end in _spans(part):
                inside = range(cuts.index(begin), cuts.index(end))
                members[key, voter] += [f"voters/{group}/{number}" for number in inside]
    return cells, dict(members)


def _spans(part: Sequence[Votes]) -> list[tuple[str, int, int]]:
    """Lay the voters of a group end to end; a voter without votes has no span."""
    spans, begin = [], 0
    for voter, votes in part:
        if votes:
            spans.append((voter, begin, begin + votes))
        begin += votes
    return spans


class Cohorts:
    """Lends GOPEN of the owners to groups of voters and takes it back.

    Parameters
    ----------
    deployment, book
        The contracts, and the addresses of labels.
    owned
        Returns the GOPEN of each ``wrapped/...`` label, ledger units.
    """

    def __init__(
        self, deployment: Deployment, book: AccountBook, owned: Callable[[], Mapping[str, int]]
    ) -> None:
        self._gopen, self._book, self._owned = deployment.gopen, book, owned
        self._unit = deployment.spec.unit_wei
        self._delegating: set[str] = set()
        self._lent: defaultdict[tuple[str, str], int] = defaultdict(int)

    def lent(self, owner: str) -> int:
        """Return what of an owner's GOPEN is lent, ledger units."""
        return sum(amount for (label, _), amount in self._lent.items() if label == owner)

    def lend(self, wanted: Mapping[str, int], day: int) -> None:
        """Give each holder the GOPEN that it is said to have, taken from owners of its class first.

        Parameters
        ----------
        wanted
            By holder label ``voters/<class>/...``, ledger units.
        day
            For the error.

        Raises
        ------
        ReconciliationError
            If the votes are more than the GOPEN of all owners.
        """
        free = {label: amount - self.lent(label) for label, amount in self._owned().items()}
        for holder, amount in wanted.items():
            left = amount
            for owner in sorted(free, key=lambda label: _distance(label, holder)):
                part = min(left, free[owner])
                if part:
                    self._transfer(owner, holder, part)
                    free[owner] -= part
                    left -= part
            if left:
                raise ReconciliationError(
                    holder, day, f"{left} gwei of {amount} votes have no GOPEN behind them"
                )
            self._delegate(holder)

    def rejoin(self) -> None:
        """Give everything back."""
        for (owner, holder), amount in self._lent.items():
            self._gopen.transfer(self._book.address(holder), self._book.address(owner), amount * self._unit)
        self._lent.clear()

    def forget_delegations(self, holders: set[str]) -> None:
        """Say that holders' delegations were undone with a reverted chain."""
        self._delegating -= holders

    def _transfer(self, owner: str, holder: str, amount: int) -> None:
        self._gopen.transfer(self._book.address(owner), self._book.address(holder), amount * self._unit)
        self._lent[owner, holder] += amount

    def _delegate(self, holder: str) -> None:
        if holder not in self._delegating:
            address = self._book.address(holder)
            self._gopen.delegate(address, address)
            self._delegating.add(holder)


def wrapped_labels(balances: Mapping[str, int]) -> dict[str, int]:
    """Return the ``wrapped`` accounts among balances."""
    return {label: held for label, held in balances.items() if held and kind_of(label) is Kind.WRAPPED}


def _distance(owner: str, holder: str) -> tuple[int, str]:
    """Order of taking: the same agent, then the same class, then the others by name."""
    agent, voter = owner.partition("/")[2], group_of(holder.partition("/")[2])
    same_class = agent.split("/")[0] == voter.split("/")[0]
    return (0 if agent == voter else 1 if same_class else 2), owner
