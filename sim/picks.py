"""Picks: amounts of the few agents to whom something happens today.

Rule decided here: where few of many agents act, their amounts are a list of flat indices into (runs, agents) beside a
list of gwei; an agent may stand in it more than once, and then its amounts add up. What nobody touches costs nothing.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.kernels import picks as kernel

if TYPE_CHECKING:
    from sim.world import Layout

Int = NDArray[np.int64]

_ROOM = threading.local()


@dataclass(frozen=True, slots=True)
class Picks:
    """Amounts of few agents.

    Parameters
    ----------
    where
        Flat index into (runs, agents) of the whole agent axis, int64 (entries,).
    amounts
        Gwei, int64 (entries,).
    """

    where: Int
    amounts: Int

    @classmethod
    def none(cls) -> Picks:
        """Return picks of nobody."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64))

    @classmethod
    def of(cls, amount: Int) -> Picks:
        """Return the elements of an array (runs, agents) that are not 0, in the order of the array."""
        return cls.of_columns(np.ascontiguousarray(amount), slice(0, amount.shape[1]))

    @classmethod
    def of_columns(cls, amount: Int, columns: slice) -> Picks:
        """Return the elements of some columns of an array (runs, agents), contiguous, that are not 0."""
        return cls._picked(amount, columns, columns.start, amount.shape[1])

    @classmethod
    def of_class(cls, layout: Layout, agent_class: str, amount: Int) -> Picks:
        """Return the elements of an array (runs, agents of a class) that are not 0."""
        return cls._picked(amount, slice(0, amount.shape[1]), layout.slice(agent_class).start, layout.agents)

    @classmethod
    def _picked(cls, amount: Int, columns: slice, first: int, agents: int) -> Picks:
        where, amounts = room(len(amount) * (columns.stop - columns.start))
        count = kernel.pick(amount, columns.start, columns.stop, first, agents, where, amounts)
        return cls(where[:count].copy(), amounts[:count].copy())

    @classmethod
    def joined(cls, parts: list[Picks]) -> Picks:
        """Return several picks as one."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.none()
        return cls(np.concatenate([p.where for p in parts]), np.concatenate([p.amounts for p in parts]))

    def cut_to(self, held: Int) -> Picks:
        """Return the amounts cut to what agents hold, (runs, agents), without zeros; nobody may stand in it twice."""
        where, amounts = room(self.where.size)
        count = kernel.cut(self.where, self.amounts, held.reshape(-1), where, amounts)
        return Picks(where[:count].copy(), amounts[:count].copy())

    def where_positive(self) -> Picks:
        """Return the entries above 0."""
        where, amounts = room(self.where.size)
        count = kernel.keep_positive(self.where, self.amounts, where, amounts)
        return Picks(where[:count].copy(), amounts[:count].copy())

    def among(self, chosen: NDArray[np.bool_]) -> Picks:
        """Return those entries that are chosen, bool (entries,)."""
        return Picks(self.where[chosen], self.amounts[chosen])

    def per_run(self, runs: int, agents: int) -> Int:
        """Return the sums of each run, int64 (runs,)."""
        out = np.zeros(runs, np.int64)
        np.add.at(out, self.where // agents, self.amounts)
        return out

    def count_per_run(self, runs: int, agents: int) -> Int:
        """Return the number of entries of each run, int64 (runs,)."""
        return np.bincount(self.where // agents, minlength=runs)

    def dense(self, runs: int, agents: int) -> Int:
        """Return the amounts as an array (runs, agents)."""
        out = np.zeros(runs * agents, np.int64)
        np.add.at(out, self.where, self.amounts)
        return out.reshape(runs, agents)


def room(size: int) -> Int:
    """Return two lists, int64 (2, size), that are the caller's until the next call: what is kept of them is copied.

    The memory is used again, because asking for pages anew costs more than to fill a few of them.
    """
    lists = getattr(_ROOM, "lists", None)
    if lists is None or lists.size < 2 * size:
        lists = _ROOM.lists = np.empty(2 * size, np.int64)
    return np.asarray(lists[: 2 * size].reshape(2, size))
