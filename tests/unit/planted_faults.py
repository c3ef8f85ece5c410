"""A busy world as it stood at the end of some days, and what a fault planted on the next day must say."""

from __future__ import annotations

import pickle

import pytest
import small_world as small

from sim.begin import begin_world
from sim.clock import advance_day
from sim.identities import IdentityBroken
from sim.ledger import FlowRefused

LAST = 62
"""By this day of the busy world every leg of the table of flows (LEGS in test_dropped_flows) has happened once; it is
an ordinary day, of which the audit reads no more than where money can be."""
ECONOMY = small.busy(days=93)
ROW = 2
RUN = int(small.RUNS[ROW])


class Snapshots:
    """The busy world as it stood at the end of some days."""

    def __init__(self, days):
        self.flows = {}
        world = begin_world(ECONOMY, small.RUNS, small.WITNESS)
        self._worlds = {-1: pickle.dumps(world)}
        for day in range(LAST + 1):
            advance_day(world, ECONOMY, day)
            self.flows[day] = {
                (f, s.partition("/")[0], t.partition("/")[0]) for f, s, t in world.journal.today
            }
            if day in days:
                self._worlds[day] = pickle.dumps(world)

    def at_end_of(self, day):
        """Return a world of its own as it stood at the end of a day."""
        return pickle.loads(self._worlds[day])


def stopped(world, day):
    """Live the next day and return what stopped it."""
    with pytest.raises((IdentityBroken, FlowRefused)) as found:
        advance_day(world, ECONOMY, day)
    return str(found.value)


def names(text, *accounts, day, runs):
    """Assert that a message names the day, one of the runs and one of the accounts."""
    assert f"day {day}, run " in text, text
    assert any(f"run {run}: " in text for run in runs), text
    assert any(account in text for account in accounts), text
