"""What a day of governance writes down: gas of everything that was done, who voted last, and events."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sim.governance import voting
from sim.governance.desk import Desk

sys.path.insert(0, str(Path(__file__).parent))
import small_world as small

ECONOMY = small.economy()


@pytest.fixture
def desk():
    world = small.stand(ECONOMY, 1)
    small.give(world, "wallet.l2", small.GWEI, "*")
    world.phase = "governance"
    return Desk(world, ECONOMY)


@pytest.mark.parametrize("columns", [[3, 5], [5, 3], [3, 3], [3, 5, 3]])
def test_gas_is_charged_for_each_time(desk, columns):
    for column in columns:
        desk.did("vote", np.array([1]), np.array([column]))
    desk.charge_gas()
    paid = small.GWEI - desk.world.agent_balance("wallet.l2")
    fee = ECONOMY.gas_fees["vote"]
    assert fee > 0
    assert paid[1].tolist() == [fee * columns.count(column) for column in range(ECONOMY.layout.agents)]
    assert not paid[[0, 2]].any()


def test_of_two_votes_of_a_day_the_later_one_is_remembered():
    state = SimpleNamespace(voted_last=np.ones((3, 4), bool))
    of, columns = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 3, 1, 2])
    voting._remember(SimpleNamespace(state=state), np.array([0, 0, 2]), of, columns)
    assert state.voted_last.tolist() == [[False, False, False, True], [True] * 4, [False, True, True, False]]


def test_an_event_is_read_as_json(desk):
    desk.tell(2, 4, 0, "bound", parameter="fees.split", values=[2, 1, 6])
    (event,) = desk.state.events
    assert (event.run, event.day, event.kind, event.subject) == (small.RUNS[2], 1, "bound", "routine")
    assert json.loads(event.detail) == {"proposal": 4, "parameter": "fees.split", "values": [2, 1, 6]}
