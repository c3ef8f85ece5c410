"""The witness run: its chains agree with its ledger, change nothing in it, and every planted fault is found."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import typer

pytest.importorskip("eth")

from sim import cli
from sim.chain.actions import proposal_calls
from sim.chain.clients.parameters import ParameterChange, Parameters
from sim.chain.journal import ReconciliationError
from sim.engine import run_batch
from sim.governance_gateway import GatewayError
from sim.observables import OBSERVABLES
from sim.witness import Witness

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))
import small_world as small

WEI = 10**9
"""Wei in a gwei."""
BUSY = small.economy(*small.BUSY, agents=120, days=62)
"""Two epochs, which end on days 30 and 61."""
MONTH = small.economy(*small.BUSY, "governance.proposals_per_month=0", agents=120, days=30)
"""One epoch that is replayed at its end alone."""
ONE_RUN = np.array([0])


def run(economy, *, runs=ONE_RUN, chain=True, settings=None):
    """Simulate with run 0 as the witness run."""
    witness = Witness(economy) if chain else None
    return run_batch(economy, runs, witness=0, chain=witness), witness


def events(result, run=0):
    """Return (day, kind, detail) of a run."""
    columns = zip(*(result.events[name] for name in ("run", "day", "kind", "detail")), strict=True)
    return [(day, kind, json.loads(detail)) for number, day, kind, detail in columns if number == run]


@pytest.fixture(scope="module")
def unbroken():
    return run(BUSY)


class TestAgreement:
    def test_every_account_agrees_to_the_wei_in_every_epoch(self, unbroken):
        result, _ = unbroken
        assert result.chain_summary["executed"] is True
        assert result.chain_summary["reconciled_epochs"] == 2
        assert result.chain_summary["max_abs_diff_wei"] == 0
        assert result.chain_summary["transactions"] > 1000
        assert result.residual_gwei == 0
        assert set(result.chain["diff_wei"]) == {0}
        total = {"l1": 0, "l2": 0, "escrow": 0}
        last = max(result.chain["epoch"])
        for epoch, account, chain, gwei in zip(
            *(result.chain[name] for name in ("epoch", "account", "chain", "ledger_gwei")), strict=True
        ):
            if epoch == last and account not in {
                "escrow",
                "open.supply",
                "gopen.supply",
                "distributor.claimed",
            }:
                total[chain] += gwei
        assert sum(total.values()) == 10**18
        assert min(total.values()) > 0

    def test_the_flows_of_the_table_were_executed(self, unbroken):
        result, _ = unbroken
        flows = set(result.flows["flow"])
        assert flows >= {"U1", "U2", "U4", "E1", "E2", "E3", "B1", "B3", "B4", "B5", "B6", "C1", "C2", "M3"}

    def test_chain_off_gives_the_same_rows(self, unbroken):
        on, _ = unbroken
        off, _ = run(BUSY, chain=False)
        assert off.chain_summary is None
        assert not off.chain["account"]
        for observable in OBSERVABLES:
            a, b = on.metrics[observable.name], off.metrics[observable.name]
            assert np.array_equal(a, b, equal_nan=not observable.name.endswith("_gwei")), observable.name
        for table in ("groups", "accounts", "events", "flows", "usd"):
            assert on.table(table) == off.table(table)


def test_fees_follow_the_dates_of_their_rules_on_chain():
    """A split, a flat part and a burn that change within an epoch: the splitter holds each day to its own rule."""
    split = "{model: 2, stakers: 2, contributors: 5}, 2025-10-02: {model: 3, stakers: 1, contributors: 5}"
    economy = small.economy(
        *small.BUSY, "governance.proposals_per_month=0", f"fees.split={{at: {{2025-09-08: {split}}}}}",
        "fees.platform={at: {2025-09-08: 0.00005 OPEN, 2025-09-27: 0.0001 OPEN}, range: [0, 5]}",
        "fees.burn={at: {2025-09-08: 0 %, 2025-09-30: 2 %}}", agents=120, days=30,
    )  # fmt: skip
    result, witness = run(economy)
    assert result.chain_summary["max_abs_diff_wei"] == 0
    first = (economy.scenario.start - date(1970, 1, 1)).days
    rules = [witness._chain.deployment.splitter.rule_on(first + day) for day in range(31)]
    changes = [day for day in range(1, 31) if rules[day] != rules[day - 1]]
    assert changes == [19, 22, 24]


def transfer(witness, chain, source, target, wei=WEI):
    """Move money on a chain alone, as somebody with the keys could."""
    deployment, book = witness._chain.deployment, witness._chain.book
    if chain == "l1":
        deployment.token.transfer(book.address(source), book.address(target), wei)
    else:
        deployment.l2.send(book.address(source), book.address(target), value=wei)


def after_replay(monkeypatch, fault):
    """Let something happen on the chains when the first epoch has been replayed and is not compared yet."""
    replay = Witness._replay

    def replayed(self, through_day):
        replay(self, through_day)
        if through_day == 30:
            fault(self)

    monkeypatch.setattr(Witness, "_replay", replayed)


MOVED = [
    pytest.param("l1", "venue", "market_maker", id="venue"),
    pytest.param("l1", "wallet.l1/holders/*", "wallet.l1/team/*", id="wallets on L1", marks=pytest.mark.slow),
    pytest.param("l1", "pool.community.l1", "pool.ecosystem.l1", id="pools on L1", marks=pytest.mark.slow),
    pytest.param("l2", "staking_rewards", "pool.ecosystem.l2", id="staking pot", marks=pytest.mark.slow),
    pytest.param("l2", "stake/holders/*", "wallet.l2/holders/*", id="stake", marks=pytest.mark.slow),
]  # fmt: skip


class TestMoneyMovedOnChain:
    @pytest.mark.parametrize(("chain", "source", "target"), MOVED)
    def test_one_gwei(self, monkeypatch, chain, source, target):
        after_replay(monkeypatch, lambda witness: transfer(witness, chain, source, target))
        with pytest.raises(ReconciliationError) as found:
            run(MONTH)
        assert found.value.account in (source, target)
        assert found.value.day == 30
        assert f"day 30, account {found.value.account}: epoch 1: the chain has " in str(found.value)
        assert "difference 1000000000 wei" in str(found.value) or "difference -1000000000 wei" in str(
            found.value
        )

    @pytest.mark.slow
    def test_between_two_agents_of_a_class(self, monkeypatch):
        """Sums by class stay right; agents with an address of their own are compared one by one."""
        moved = []

        def fault(witness):
            held = dict(witness._balances(witness._world))
            own = [f"wallet.l1/holders/{i}" for i in witness._own["holders"]]
            moved.extend([label for label in own if held.get(label, 0) > 1][:2])
            transfer(witness, "l1", *moved)

        after_replay(monkeypatch, fault)
        with pytest.raises(ReconciliationError) as found:
            run(MONTH)
        assert len(moved) == 2
        assert found.value.account in moved

    @pytest.mark.slow
    def test_one_wei_is_enough(self, monkeypatch):
        after_replay(monkeypatch, lambda witness: transfer(witness, "l1", "venue", "market_maker", wei=1))
        with pytest.raises(
            ReconciliationError, match=r"account market_maker: .* difference 1 wei; venue by -1 wei"
        ):
            run(MONTH)

    @pytest.mark.slow
    def test_a_burn(self, monkeypatch):

        def fault(witness):
            deployment, book = witness._chain.deployment, witness._chain.book
            deployment.token.burn(book.address("market_maker"), WEI)

        after_replay(monkeypatch, fault)
        with pytest.raises(
            ReconciliationError, match=r"day 30, account burned\.l1: .*market_maker by -1000000000"
        ):
            run(MONTH)


def tamper(monkeypatch, change):
    """Let `change` rewrite the epoch's journal before it is replayed, list in and list out."""
    settle = Witness.settle

    def tampered(self, world, economy):
        world.journal.entries = change(world.journal.entries)
        settle(self, world, economy)

    monkeypatch.setattr(Witness, "settle", tampered)


def last(entries, flow, target):
    """Return the place of the last entry of a flow into an account."""
    return max(i for i, e in enumerate(entries) if e.flow == flow and e.target.startswith(target))


ENTRIES = [
    ("M1", "venue"), ("E3", "staking_rewards"), ("X1", "transit_deposit"), ("S2", "stake"), ("C2", "gas_vault"),
    ("C1", "wallet.l2/contributors"), ("U4", "pool.community.l2"), ("B1", "clearing"), ("B5", "distributor"),
    ("B4", "staking_rewards"), ("O1", "wallet.l2"), ("D1", "prepaid"), ("H1", "wrapped"),
]  # fmt: skip
QUICK = {("B4", "staking_rewards")}
FAULTS = [pytest.param(*e, id=" ".join(e), marks=() if e in QUICK else pytest.mark.slow) for e in ENTRIES]


class TestJournal:
    def found(self):
        with pytest.raises(ReconciliationError) as found:
            run(MONTH)
        assert f"day {found.value.day}, account {found.value.account}: " in str(found.value)
        return found.value

    @pytest.mark.parametrize(("flow", "target"), FAULTS)
    def test_an_entry_dropped(self, monkeypatch, flow, target):
        dropped = []

        def change(entries):
            place = last(entries, flow, target)
            dropped.append(entries[place])
            return [*entries[:place], *entries[place + 1 :]]

        tamper(monkeypatch, change)
        self.names(self.found(), dropped[0])

    @pytest.mark.slow
    @pytest.mark.parametrize(("flow", "target"), ENTRIES)
    def test_an_amount_changed_by_one_gwei(self, monkeypatch, flow, target):
        changed = []

        def change(entries):
            place = last(entries, flow, target)
            entry = entries[place]
            changed.append(entry)
            parts = {}
            for name in ("source_parts", "target_parts"):
                if getattr(entry, name) is not None:
                    parts[name] = getattr(entry, name).copy()
                    parts[name][np.argmax(parts[name])] += 1
            return [*entries[:place], replace(entry, amount=entry.amount + 1, **parts), *entries[place + 1 :]]

        tamper(monkeypatch, change)
        self.names(self.found(), changed[0])

    def names(self, error, entry):
        """The error names an end of the entry or a total that shows it, and the move's or the comparison's day."""
        ends = {entry.source.partition("/")[0], entry.target.partition("/")[0]}
        totals = {"escrow", "open.supply", "gopen.supply", "distributor.claimed"}
        assert error.account.partition("/")[0] in ends | totals, (error, entry)
        assert entry.day <= error.day <= 30

    def test_two_payees_swapped_in_a_claim(self, monkeypatch):
        """The sum is right; only the contract knows who earned what."""

        def change(entries):
            place = last(entries, "C1", "wallet.l2/contributors")
            entry = entries[place]
            parts = entry.target_parts.copy()
            first, second = np.flatnonzero(parts)[:2]
            assert parts[first] != parts[second]
            parts[[first, second]] = parts[[second, first]]
            return [*entries[:place], replace(entry, target_parts=parts), *entries[place + 1 :]]

        tamper(monkeypatch, change)
        error = self.found()
        assert error.day == 30
        assert error.account.startswith("wallet.l2/contributors/")
        assert "the distributor pays" in str(error)


VOTE = (
    "days=125", "proposal.submit=2025-12-15", "proposal.proposer.rank=1", "governance.turnout.core=60 %",
    "governance.proposals_per_month=0",
    "proposal.votes.stated={holders: for, users: for, contributors: for, builders: for, investors: for, team: for, "
    "delegates: for, traders: for, operators: for}",
)  # fmt: skip
SUBMITTED = 98
"""Day of 2025-12-15."""


def voted(*settings):
    return small.economy(*VOTE, *settings, agents=300, days=125, file=small.DATA_FIRST)


@pytest.fixture(scope="module")
def passed():
    return run(voted())


@pytest.mark.slow
class TestProposal:
    def test_the_contracts_execution_sets_the_parameter_the_day_after(self, passed):
        result, witness = passed
        told = events(result)
        assert [kind for _, kind, _ in told] == ["submitted", "voted", "queued", "executed", "bound"]
        days = {kind: day for day, kind, _ in told}
        assert days["submitted"] == SUBMITTED
        assert days["executed"] - days["submitted"] >= 15
        assert days["bound"] == days["executed"] + 1
        split = {
            name: result.metrics[f"split_{name}_weight"][0] for name in ("model", "stakers", "contributors")
        }
        before, after = slice(0, days["bound"]), slice(days["bound"], None)
        for name, old, new in (("model", 2, 2), ("stakers", 2, 1), ("contributors", 5, 6)):
            assert set(split[name][before].tolist()) == {old}
            assert set(split[name][after].tolist()) == {new}
        assert result.chain_summary["max_abs_diff_wei"] == 0
        assert witness._chain.deployment.parameters.get("fees.split") == (2, 1, 6)

    def test_the_bills_of_the_day_are_split_by_it(self, passed):
        result, _ = passed
        day = next(day for day, kind, _ in events(result) if kind == "bound")
        stakers, net = result.metrics["stakers_fee_gwei"][0], result.metrics["fee_net_gwei"][0]
        assert stakers[day - 1] / net[day - 1] == pytest.approx(2 / 9, rel=1e-6)
        assert stakers[day] / net[day] == pytest.approx(1 / 9, rel=1e-6)

    def test_without_the_chain_the_formulas_decide_the_same(self, passed):
        on, _ = passed
        off, _ = run(voted(), chain=False)
        for observable in OBSERVABLES:
            assert np.array_equal(on.metrics[observable.name], off.metrics[observable.name], equal_nan=True)
        assert events(off) == events(on)

    def test_the_receipts_event_sets_the_value_and_not_the_scenario(self, monkeypatch):
        """A contract that sets something else than was proposed shows in the simulation."""

        def other(deployment, actions):
            return proposal_calls(deployment, [(path, (1, 3, 5)) for path, _ in actions])

        monkeypatch.setattr("sim.chain.gateway.proposal_calls", other)
        result, _ = run(voted())
        weights = [result.metrics[f"split_{n}_weight"][0, -1] for n in ("model", "stakers", "contributors")]
        assert weights == [1, 3, 5]
        assert result.chain_summary["max_abs_diff_wei"] == 0

    def test_fees_that_follow_another_rule_than_the_contract_s_are_refused(self, monkeypatch):
        """What the simulation believes to have been set is not what the splitter reads."""
        changes = Parameters.changes

        def other(self, receipt):
            return [ParameterChange(c.name, c.old, (1, 3, 5)) for c in changes(self, receipt)]

        monkeypatch.setattr(Parameters, "changes", other)
        with pytest.raises(ReconciliationError, match=r"the fee splitter refuses: .*OutOfBounds"):
            run(voted())

    @pytest.mark.parametrize(
        "settings",
        [
            ("governance.turnout.core=0 %", "governance.turnout.base=-30"),
            ("governance.quorum.value=100 %",),
        ],
        ids=["nobody votes", "out of reach"],
    )
    def test_with_the_quorum_missed_it_does_not(self, settings):
        result, witness = run(voted(*settings))
        told = events(result)
        kinds = [kind for _, kind, _ in told]
        assert kinds == ["submitted", "voted", "defeated"]
        assert told[-1][2]["quorum_reached"] == 0
        assert set(result.metrics["split_stakers_weight"][0].tolist()) == {2}
        assert witness._chain.deployment.parameters.get("fees.split") == (2, 2, 5)
        assert result.chain_summary["max_abs_diff_wei"] == 0

    def test_a_governor_that_counts_otherwise_stops_the_run(self, monkeypatch):
        from sim.chain.gateway import ChainGateway

        close = ChainGateway.close

        def miscounts(self, key, timestamp):
            right = close(self, key, timestamp)
            return replace(right, for_votes=right.for_votes + 1)

        monkeypatch.setattr(ChainGateway, "close", miscounts)
        with pytest.raises(
            GatewayError, match=r"proposal 0, day 106: the governor counts .* the ledger counts"
        ):
            run(voted())


@pytest.mark.slow
def test_the_command_line_leaves_with_1_and_names_account_and_day(capsys, monkeypatch, tmp_path):
    after_replay(monkeypatch, lambda witness: transfer(witness, "l1", "venue", "market_maker"))
    command = ["run", str(small.BASELINE), "--runs", "1", "--agents", "60", "--days", "30", "--workers", "1",
               "--json", "--out", str(tmp_path / "run")]  # fmt: skip
    with pytest.raises(SystemExit) as left:
        cli.run(lambda: typer.main.get_command(cli.app).main(command, "olsim"))
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("simulating")]
    assert left.value.code == 1
    assert len(said) == 1
    assert "day 30, account market_maker: epoch 1: the chain has" in said[0]
