"""Where money can be: the daily audit looks there, the whole audits everywhere, and nothing outside stays unseen."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sim import ledger, reach
from sim.accounts import ACCOUNTS, AGENT_ACCOUNTS, AGENT_CLASSES, INSTITUTIONS, PAYEES, STAKERS
from sim.clock import advance_day
from sim.flows import FLOWS, classes_of
from sim.identities import IdentityBroken
from sim.picks import Picks
from sim.scenario.opening import Opening, OpeningRow
from sim.world import Layout

sys.path.insert(0, str(Path(__file__).parent))
import small_world as small
from planted_faults import ECONOMY, LAST, ROW, RUN, Snapshots, stopped

EVERYBODY = (*AGENT_CLASSES, *INSTITUTIONS)
WHOLE = 91
"""The first day after `LAST` on which an audit reads everything."""
LARGE = Layout.of(dict.fromkeys(AGENT_CLASSES, 1000))


@pytest.fixture(scope="module")
def snapshots():
    return Snapshots({LAST - 1})


def outside(world, name):
    """Return the first column that the daily audit of an account leaves out."""
    return min(set(range(world.layout.agents)) - set(small.seats(world, name)))


class TestWhere:
    def test_no_flow_leads_to_a_class_that_is_not_listed(self):
        places = [("mint", "")] + [
            (a.name, c) for a in ACCOUNTS.values() for c in (EVERYBODY if a.per_agent else ("",))
        ]
        led = {account.name: set() for account in AGENT_ACCOUNTS}
        for flow, source, target in itertools.product(FLOWS.values(), places, places):
            if target[1] and flow.permits(*source, *target):
                led[target[0]].add(target[1])
        assert led == {account.name: set(classes_of(account.name)) for account in AGENT_ACCOUNTS}
        assert led["prepaid"] == {"users"}
        assert led["bond"] == {"contributors"}
        assert led["stake"] == led["unbonding"] == led["wrapped"] == set(STAKERS)
        assert led["transit_withdraw"] == {*STAKERS, "operators"}
        assert led["wallet.l1"] == led["wallet.l2"] == led["transit_deposit"] == set(EVERYBODY)

    def test_the_columns_of_these_classes_are_read(self):
        read = reach.daily(LARGE, None)
        for account in AGENT_ACCOUNTS:
            columns = {a for k, first, last in read if k == account.index for a in range(first, last)}
            needed = {
                a
                for name in classes_of(account.name)
                for a in range(LARGE.slice(name).start, LARGE.slice(name).stop)
            }
            assert columns == needed, account.name

    def test_no_column_is_read_twice_and_narrow_gaps_are_read_too(self):
        world = SimpleNamespace(layout=Layout.of({"holders": 300, "users": reach.GAP - 1, "builders": 300}))
        assert len(small.seats(world, "stake")) == len(set(small.seats(world, "stake")))
        for layout, names, wanted in (
            (world.layout, ("builders", "holders"), [(0, 599 + reach.GAP)]),
            (LARGE, ("team", "holders"), [(0, 1000), (6000, 7000)]),
            (LARGE, PAYEES, [(2000, 4000)]),
        ):
            assert reach.stretches(layout.slice(name) for name in names) == wanted
        assert reach.stretches([slice(5, 5), slice(900, 901)]) == [(900, 901)]

    def test_who_takes_no_part_has_nothing_that_only_a_plan_brings(self):
        parts = (("holders", 300), ("contributors", 200))
        read = reach.daily(LARGE, None, parts).tolist()
        ends = {
            account: [(first, last) for k, first, last in read if k == ACCOUNTS[account].index]
            for account in ("wallet.l1", "wallet.l2", "stake", "transit_deposit", "transit_withdraw")
        }
        assert ends["wallet.l1"] == [(0, LARGE.agents)]
        assert ends["wallet.l2"] == [(0, 300), (1000, LARGE.agents)]
        assert ends["stake"] == [(0, 300), (2000, 2200), (3000, 4000), (5000, 7000), (8000, 9000)]
        assert ends["transit_deposit"] == [(0, 300), (1000, 2200), (3000, LARGE.agents)]
        assert ends["transit_withdraw"] == [(0, 300), (2000, 7000), (8000, 9000)]

    def test_a_class_that_opens_with_something_on_l2_is_read_whole(self):
        opening = Opening((OpeningRow("wallet.l2", "holders", 5),))
        read = reach.daily(LARGE, opening, (("holders", 300),)).tolist()
        assert [ACCOUNTS["transit_withdraw"].index, 0, 1000] in read
        assert [ACCOUNTS["stake"].index, 0, 1000] in read

    def test_in_a_world_that_lives_nobody_has_anything_elsewhere(self):
        economy = small.economy(*small.BUSY, agents=1_500, days=45)
        world = small.world_after(economy, 44)
        outside = np.ones((len(AGENT_ACCOUNTS), world.layout.agents), bool)
        for account, first, last in reach.daily(economy.layout, None, economy.taking_part):
            outside[account, first:last] = False
        assert outside.mean() > 0.4
        assert not world.holdings.swapaxes(1, 2)[outside].any()
        staked = world.agent_balance("stake").copy()
        for first, last in reach.by_class(economy.layout, None, economy.taking_part, "stake"):
            staked[:, first:last] = 0
        assert world.agent_balance("stake").any()
        assert not staked.any()

    def test_who_has_something_when_the_world_opens_is_read_as_well(self):
        opening = Opening((OpeningRow("wrapped", "delegates", 5), OpeningRow("venue", "", 7)))
        more = {tuple(row) for row in reach.daily(LARGE, opening)} - {
            tuple(row) for row in reach.daily(LARGE, None)
        }
        assert more == {(ACCOUNTS["wrapped"].index, 5000, 9000)}

    def test_everything_is_read_on_first_and_last_days(self):
        whole = [day for day in range(ECONOMY.days + 1) if reach.is_whole(ECONOMY, day)]
        assert whole == [0, 30, 61, WHOLE, ECONOMY.days]
        assert reach.everywhere(LARGE).tolist() == [[k, 0, LARGE.agents] for k in range(len(AGENT_ACCOUNTS))]


class TestOutside:
    @pytest.mark.parametrize("name", ["prepaid", "bond", "stake", "wrapped", "transit_withdraw"])
    @pytest.mark.parametrize("amount", [1, -1])
    def test_money_out_of_nothing_is_found_when_the_epoch_ends(self, snapshots, monkeypatch, name, amount):
        world = snapshots.at_end_of(LAST - 1)
        small.plant(monkeypatch, LAST, lambda w: small.put(w, name, ROW, amount, agent=outside(w, name)))
        for day in range(LAST, WHOLE):
            advance_day(world, ECONOMY, day)
        assert stopped(world, WHOLE) == (
            f"identity journal (balance = sum of its flows) broken on day {WHOLE}, run {RUN}: "
            f"account {name} is off by {amount} gwei"
        )

    @pytest.mark.parametrize("name", ["prepaid", "bond", "stake", "unbonding", "wrapped", "transit_withdraw"])
    def test_money_that_leaves_where_it_can_be_is_found_the_same_day(self, snapshots, monkeypatch, name):
        def fault(world):
            small.put(world, name, ROW, -1)
            small.put(world, name, ROW, 1, agent=outside(world, name))

        small.plant(monkeypatch, LAST, fault)
        assert stopped(snapshots.at_end_of(LAST - 1), LAST) == (
            f"identity journal (balance = sum of its flows) broken on day {LAST}, run {RUN}: "
            f"account {name} is off by -1 gwei"
        )

    def test_what_the_ledger_moves_there_is_found_the_same_day(self, snapshots, monkeypatch):
        def fault(world):
            sequencer = world.layout.slice("sequencer").start
            assert sequencer == outside(world, "stake")
            some = Picks(np.array([ROW * world.layout.agents + sequencer]), np.array([3]))
            world.phase = "staking"
            ledger.move_some(world, "S1", ledger.at("wallet.l2", "*"), ledger.at("stake", "*"), some)

        small.plant(monkeypatch, LAST, fault)
        text = stopped(snapshots.at_end_of(LAST - 1), LAST)
        assert f"broken on day {LAST}, run {RUN}: account stake is off by -3 gwei" in text

    def test_a_class_that_no_flow_leads_to_is_refused_by_name(self, snapshots):
        world = snapshots.at_end_of(LAST - 1)
        world.phase = "staking"
        amount = np.ones((world.count, world.layout.count("users")), np.int64)
        with pytest.raises(ledger.FlowRefused, match=r"S1 does not permit wallet\.l2/users -> stake/users"):
            ledger.move(world, "S1", ledger.at("wallet.l2", "users"), ledger.at("stake", "users"), amount)

    def test_what_is_owed_to_nobody_is_found_when_the_epoch_ends(self, snapshots, monkeypatch):
        world = snapshots.at_end_of(LAST - 1)

        def fault(world):
            world.earned_by("users")[ROW, 1] += 2

        small.plant(monkeypatch, LAST, fault)
        for day in range(LAST, WHOLE):
            advance_day(world, ECONOMY, day)
        text = stopped(world, WHOLE)
        assert f"identity 5 (distributor = earned + dust) broken on day {WHOLE}, run {RUN}" in text
        assert "account distributor is off by -2 gwei" in text

    def test_delegated_gopen_that_went_astray_is_found_when_the_epoch_ends(self, snapshots, monkeypatch):
        world = snapshots.at_end_of(LAST - 1)

        def fault(world):
            world.governance.gopen_delegated_gwei[ROW] += 4

        small.plant(monkeypatch, LAST, fault)
        for day in range(LAST, WHOLE):
            advance_day(world, ECONOMY, day)
        with pytest.raises(IdentityBroken, match=rf"delegated .* day {WHOLE}, run {RUN}: .* off by 4 gwei"):
            advance_day(world, ECONOMY, WHOLE)
