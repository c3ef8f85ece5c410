"""Places: what a move pays from and to, and what the journal calls it.

Rule decided here: an account of the world is a place; an account of agents is one together with a class, or with all
classes at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from sim.accounts import ACCOUNTS, Account

EVERY_CLASS = "*"
"""Place of all agents at once, for flows that are open to every class."""


@dataclass(frozen=True, eq=False)
class Place:
    """An account, and for an agent account the class whose balances are meant (or `EVERY_CLASS`); see `at`."""

    account: Account
    agent_class: str = ""

    @property
    def label(self) -> str:
        """Label in the journal: ``treasury.l2`` or ``wallet.l1/holders``."""
        return f"{self.account.name}/{self.agent_class}" if self.agent_class else self.account.name

    def label_of(self, agent_class: str) -> str:
        """Return the label with `EVERY_CLASS` replaced by one class."""
        return f"{self.account.name}/{agent_class}" if self.agent_class == EVERY_CLASS else self.label


@cache
def at(name: str, agent_class: str = "") -> Place:
    """Return the place of account `name`, for agent accounts with the class.

    Raises
    ------
    KeyError
        If there is no such account.
    ValueError
        If a class is missing for an agent account or given for a world account.
    """
    account = ACCOUNTS[name]
    if account.per_agent != bool(agent_class):
        raise ValueError(f"account '{name}' {'needs an' if account.per_agent else 'has no'} agent class")
    return Place(account, agent_class)
