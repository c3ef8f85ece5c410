"""Planted faults: whatever goes wrong with a gwei stops the run, with account, day and run named."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer

from sim import cli, clock, identities, ledger, reach
from sim.accounts import AGENT_ACCOUNTS, WORLD_ACCOUNTS
from sim.begin import begin_world
from sim.clock import PHASES, advance_day, run_days
from sim.governance_gateway import GatewayError
from sim.identities import IdentityBroken
from sim.phases.billing import SplitBroken

sys.path.insert(0, str(Path(__file__).parent))
import small_world as small
from planted_faults import ECONOMY, LAST, ROW, RUN, Snapshots, names, stopped

EVERY_ACCOUNT = [account.name for account in (*WORLD_ACCOUNTS, *AGENT_ACCOUNTS)]


@pytest.fixture(scope="module")
def snapshots():
    return Snapshots({LAST - 1})


class TestOneGwei:
    @pytest.mark.parametrize("name", EVERY_ACCOUNT)
    @pytest.mark.parametrize("amount", [1, pytest.param(-1, marks=pytest.mark.slow)])
    def test_too_much_or_too_little_in_any_account(self, snapshots, monkeypatch, name, amount):
        world = snapshots.at_end_of(LAST - 1)
        small.plant(monkeypatch, LAST, lambda w: small.put(w, name, ROW, amount))
        found = stopped(world, LAST)
        assert found == (
            f"identity journal (balance = sum of its flows) broken on day {LAST}, run {RUN}: "
            f"account {name} is off by {amount} gwei"
        )

    @pytest.mark.parametrize("place", range(len(EVERY_ACCOUNT)))
    def test_moved_between_two_accounts(self, snapshots, monkeypatch, place):
        source, target = EVERY_ACCOUNT[place - 1], EVERY_ACCOUNT[place]

        def fault(world):
            small.put(world, source, ROW, -1)
            small.put(world, target, ROW, 1)

        small.plant(monkeypatch, LAST, fault)
        names(
            stopped(snapshots.at_end_of(LAST - 1), LAST),
            f"account {source} is off by -1 gwei", f"account {target} is off by 1 gwei", day=LAST, runs=[RUN],
        )  # fmt: skip

    @pytest.mark.parametrize("name", [account.name for account in AGENT_ACCOUNTS])
    @pytest.mark.parametrize("other", [0, -1])
    def test_moved_between_two_agents_of_one_account(self, snapshots, name, other):
        def fault(world):
            own = small.seats(world, name)
            payer = max(own[1:-1], key=lambda a: world.agent_balance(name)[ROW, a])
            small.put(world, name, ROW, 1000, agent=payer, booked=True)
            small.put(world, name, ROW, -1, agent=payer)
            small.put(world, name, ROW, 1, agent=own[other])

        world = snapshots.at_end_of(LAST - 1)
        fault(world)
        with pytest.raises(IdentityBroken) as found:
            identities._require_same_agents(
                world, identities._read(world, reach.daily(world.layout, None))[2]
            )
        assert str(found.value) == (
            f"identity journal (who holds it) broken on day {LAST - 1}, run {RUN}: account {name} has the right "
            "sum, but money moved between its agents without a flow"
        )

    def test_moved_between_two_agents_stops_the_day(self, snapshots, monkeypatch):
        def fault(world):
            rich = int(np.argmax(world.agent_balance("wallet.l1")[ROW]))
            small.put(world, "wallet.l1", ROW, -1, agent=rich)
            small.put(world, "wallet.l1", ROW, 1, agent=rich - 1)

        world = snapshots.at_end_of(LAST - 1)
        small.plant(monkeypatch, LAST, fault)
        found = stopped(world, LAST)
        assert f"broken on day {LAST}, run {RUN}: account wallet.l1 has the right sum" in found

    @pytest.mark.parametrize("phase", [name for name, _ in PHASES])
    def test_at_any_time_of_the_day(self, snapshots, monkeypatch, phase):
        world = snapshots.at_end_of(LAST - 1)
        small.plant(monkeypatch, LAST, lambda w: small.put(w, "treasury.l2", ROW, 1), before=phase)
        names(stopped(world, LAST), "account treasury.l2 is off by 1 gwei", day=LAST, runs=[RUN])

    def test_through_the_clock_on_its_own_day_and_not_before(self, monkeypatch):
        world = begin_world(ECONOMY, small.RUNS, None)
        ended = []
        small.plant(monkeypatch, 17, lambda w: small.put(w, "wallet.l2", 0, -1, agent=4))
        with pytest.raises(IdentityBroken, match=r"day 17, run 3: account wallet.l2 is off by -1 gwei"):
            run_days(world, ECONOMY, None, clock.Hooks(ended.append))
        assert ended == list(range(17))

    def test_the_first_of_several_runs_is_named(self, snapshots, monkeypatch):
        def fault(world):
            for row in (1, 2):
                small.put(world, "stake", row, 5)

        small.plant(monkeypatch, LAST, fault)
        assert f"run {small.RUNS[1]}: account stake is off by 5" in stopped(
            snapshots.at_end_of(LAST - 1), LAST
        )


class TestEachIdentity:
    """Faults that the journal agrees with, so that it is the identity itself that must see them."""

    @pytest.fixture
    def broken(self, snapshots, monkeypatch):
        def run(fault):
            small.plant(monkeypatch, LAST, fault)
            with pytest.raises(IdentityBroken) as found:
                advance_day(snapshots.at_end_of(LAST - 1), ECONOMY, LAST)
            return str(found.value)

        return run

    def test_1_the_cap_is_the_sum_of_all_accounts(self, broken):
        text = broken(lambda w: small.put(w, "venue", ROW, 3, booked=True))
        assert text == (
            f"identity 1 (cap = sum of accounts) broken on day {LAST}, run {RUN}: "
            "account all accounts is off by -3 gwei"
        )

    def test_2_an_account_of_no_chain(self, broken, monkeypatch):
        """Identity 2 follows from 1 while every account lies on exactly one chain; it sees one that does not."""
        kept = [replace(a, chain=None) if a.name == "venue" else a for a in WORLD_ACCOUNTS]
        monkeypatch.setattr(identities, "WORLD_BY_CHAIN", identities.by_chain(kept))
        text = broken(lambda w: None)
        assert "identity 2 (cap - burned.l1 = L1 + escrow) broken" in text
        assert "account L1 accounts" in text

    def test_3_escrow_mirrors_what_is_on_l2(self, broken):
        def fault(world):
            small.put(world, "market_maker", ROW, -7, booked=True)
            small.put(world, "treasury.l2", ROW, 7, booked=True)

        text = broken(fault)
        assert "identity 3 (escrow mirror) broken" in text
        assert f"day {LAST}, run {RUN}: account escrow is off by -7 gwei" in text

    def test_4_gopen_is_what_is_wrapped(self, broken):
        def fault(world):
            world.holding.gopen_supply[ROW] += 1

        assert f"run {RUN}: account wrapped is off by 1 gwei" in broken(fault)

    @pytest.mark.parametrize("who", ["a payee", "the dust"])
    def test_5_the_distributor_owes_what_it_holds(self, broken, who):
        def fault(world):
            if who == "a payee":
                world.earned_by("contributors")[ROW, 1] += 2
            else:
                world.dust[ROW] += 2

        text = broken(fault)
        assert "identity 5 (distributor = earned + dust)" in text
        assert f"run {RUN}: account distributor is off by -2 gwei" in text

    @pytest.mark.parametrize("role", ["community", "ecosystem", "liquidity", "investors", "team"])
    def test_6_vesting_holds_what_is_not_vested(self, broken, role):
        def fault(world):
            small.put(world, f"vesting.{role}", ROW, 4, booked=True)
            small.put(world, "market_maker", ROW, -4, booked=True)

        text = broken(fault)
        assert "identity 6 (vesting = allocation - vested)" in text
        assert f"run {RUN}: account vesting.{role} is off by 4 gwei" in text

    def test_7_clearing_is_emptied(self, broken):
        def fault(world):
            small.put(world, "clearing", ROW, 1, booked=True)
            small.put(world, "treasury.l2", ROW, -1, booked=True)

        assert f"identity 7 (clearing = 0) broken on day {LAST}, run {RUN}: account clearing" in broken(fault)

    @pytest.mark.parametrize("name", [account.name for account in AGENT_ACCOUNTS])
    def test_8_no_agent_owes(self, broken, name):
        """Another agent has as much more, so that every sum is right."""

        def fault(world):
            held, own = world.agent_balance(name)[ROW], small.seats(world, name)
            debtor, creditor = sorted(own, key=lambda a: held[a])[:2]
            lacking = int(held[debtor]) + 1
            small.put(world, name, ROW, -lacking, agent=debtor)
            small.put(world, name, ROW, lacking, agent=creditor)

        text = broken(fault)
        assert f"identity 8 (no balance below 0) broken on day {LAST}, run {RUN}: account {name} " in text

    @pytest.mark.parametrize("name", ["treasury.l1", "gas_vault", "burned.l2"])
    def test_8_no_account_of_the_world_owes(self, broken, name):
        def fault(world):
            lacking = int(world.world_balance(name)[ROW]) + 1
            small.put(world, name, ROW, -lacking, booked=True)
            small.put(world, "venue", ROW, lacking, booked=True)

        assert f"identity 8 (no balance below 0) broken on day {LAST}, run {RUN}: account {name} " in broken(
            fault
        )


def test_an_unbroken_day_passes_every_identity(snapshots):
    world = snapshots.at_end_of(LAST - 1)
    advance_day(world, ECONOMY, LAST)
    sums, least = identities.totals(world)
    assert not identities.residual(world, ECONOMY, sums).any()
    assert least.min() >= 0
    assert sums.sum(axis=1).min() > 0


class TestOnTheCommandLine:
    """Every failed check leaves with exit code 1, one line on standard error, and the reason in the manifest."""

    def olsim(self, capsys, out, *more):
        command = ["run", str(small.BASELINE), "--runs", "1", "--agents", "60", "--days", "5", "--workers", "1",
                   "--chain", "off", "--json", "--out", str(out), *more]  # fmt: skip
        try:
            code = cli.run(lambda: typer.main.get_command(cli.app).main(command, "olsim"))
        except SystemExit as left:
            code = left.code
        shown = capsys.readouterr()
        assert shown.out == ""
        said = [line for line in shown.err.splitlines() if not line.startswith("simulating ")]
        assert len(said) == 1, shown.err
        return code, said[0]

    def test_a_broken_identity(self, capsys, monkeypatch, tmp_path):
        small.plant(monkeypatch, 3, lambda w: small.put(w, "bond", 0, 1))
        code, text = self.olsim(capsys, tmp_path / "run")
        assert code == 1
        assert "day 3, run 0: account bond is off by 1 gwei" in text
        assert '"status": "failed"' in (tmp_path / "run" / "manifest.json").read_text()

    @pytest.mark.slow
    def test_a_flow_that_the_table_does_not_list(self, capsys, monkeypatch, tmp_path):
        def fault(world):
            world.phase = "market"
            ledger.move(world, "M9", ledger.at("venue"), ledger.at("treasury.l1"), np.array([1]))

        small.plant(monkeypatch, 2, fault)
        code, text = self.olsim(capsys, tmp_path / "run")
        assert (code, "flow 'M9' is not in the table of flows" in text) == (1, True)

    @pytest.mark.slow
    def test_a_swapped_split(self, capsys, monkeypatch, tmp_path):
        def fault(world):
            raise SplitBroken("day 2, run 0: staking_rewards got 5 gwei of the bills; the split gives 2")

        small.plant(monkeypatch, 2, fault)
        code, text = self.olsim(capsys, tmp_path / "run")
        assert (code, "staking_rewards got 5 gwei" in text) == (1, True)
        assert '"status": "failed"' in (tmp_path / "run" / "manifest.json").read_text()

    @pytest.mark.slow
    def test_a_governor_that_disagrees(self, capsys, monkeypatch, tmp_path):
        def fault(world):
            raise GatewayError("proposal 0, day 2: the governor counts (1, 0, 0)")

        small.plant(monkeypatch, 2, fault)
        code, text = self.olsim(capsys, tmp_path / "run")
        assert (code, "the governor counts (1, 0, 0)" in text) == (1, True)
