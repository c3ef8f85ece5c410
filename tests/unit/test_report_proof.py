"""Proved on chain: calls are counted from receipts, and the section bears runs without a chain or counts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from sim.report.blocks import Paragraph, Table
from sim.report.proof import proof_blocks
from sim.results import Run, load_run
from sim.results.manifest import CallFacts, ChainFacts, Manifest

sys.path.insert(0, str(Path(__file__).parent))
import synthetic_runs as toy

CALLS = (
    CallFacts(contract="GOPEN (L2)", call="Deposit", count=2, gas=1000),
    CallFacts(contract="GOPEN (L2)", call="Transfer (mint)", count=2, gas=0),
    CallFacts(contract="GOPEN (L2)", call="contract created", count=1, gas=50),
    CallFacts(contract="Parameters (L2)", call="ParameterSet", count=1, gas=0),
)


def with_chain(directory: Path, **facts: object) -> Run:
    toy.run_directory(directory, runs=2)
    path = directory / "manifest.json"
    data = json.loads(path.read_text())
    data["chain"] = ChainFacts.model_validate({**data["chain"], **facts}).model_dump(mode="json")
    path.write_text(json.dumps(data))
    return load_run(directory)


def test_calls_are_told_with_what_they_show(tmp_path: Path) -> None:
    blocks = proof_blocks(with_chain(tmp_path / "run", calls=CALLS))
    main, side, scope = (block for block in blocks if isinstance(block, Table))
    assert main.rows == (
        ("GOPEN (L2)", "Deposit", "2", "1,000", "OPEN wrapped into GOPEN"),
        ("Parameters (L2)", "ParameterSet", "1", "–", "parameters that a vote set"),
    )
    assert [row[1] for row in side.rows] == ["Transfer (mint)", "contract created"]
    assert dict(scope.rows)["formula only"].startswith("the other 1 runs")
    text = next(block.text for block in blocks if isinstance(block, Paragraph))
    assert "9 transactions" in text
    assert "1 accounts and totals were compared" in text
    assert "1,050 gas" in text


def test_a_directory_without_counts_still_reads(tmp_path: Path) -> None:
    directory = toy.run_directory(tmp_path / "run", runs=2)
    path = directory / "manifest.json"
    data = json.loads(path.read_text())
    del data["chain"]["calls"]
    path.write_text(json.dumps(data))
    assert Manifest.read(directory).chain.calls == ()
    texts = [block.text for block in proof_blocks(load_run(directory)) if isinstance(block, Paragraph)]
    assert any("holds no counts of calls" in text for text in texts)


def test_a_run_without_chain_says_so(tmp_path: Path) -> None:
    blocks = proof_blocks(with_chain(tmp_path / "run", executed=False))
    assert len(blocks) == 2
    assert isinstance(blocks[1], Paragraph)
    assert "no contract was executed" in blocks[1].text


class TestCounting:
    @pytest.fixture
    def counted(self):
        pytest.importorskip("eth")
        from sim.chain.calls import count_calls
        from sim.chain.demo import day0_timestamp, open_spec
        from sim.chain.journal import JournalEntry
        from sim.chain.witness import ChainWitness

        gopen = 10**9
        chain = ChainWitness(open_spec(), day0_timestamp=day0_timestamp())
        total = 1000 * gopen
        entries = [
            JournalEntry(0, "U1", "vesting.community", "pool.community.l1", 145_500_000 * gopen),
            JournalEntry(0, "U4", "pool.community.l1", "transit_deposit.pool.community", total),
            JournalEntry(1, "U4", "transit_deposit.pool.community", "pool.community.l2", total),
            JournalEntry(1, "R1", "pool.community.l2", "wallet.l2/holders/*", total),
            JournalEntry(2, "H1", "wallet.l2/holders/*", "wrapped/holders/*", total),
        ]
        chain.replay(entries, through_day=2)
        return chain, {(one.contract, one.call): one for one in count_calls(chain.deployment, chain.bridge)}

    def test_each_event_and_all_gas_once(self, counted) -> None:
        chain, calls = counted
        receipts = (*chain.l1.receipts, *chain.l2.receipts)
        assert sum(one.gas for one in calls.values()) == sum(receipt.gas_used for receipt in receipts)
        assert calls["TrancheVesting (L1)", "Released"].count == 1
        assert calls["OPEN (L1)", "Transfer (deposit at the bridge)"].count == 1
        assert calls["native coins (L2)", "transfer"].count == 1

    def test_gas_stands_at_what_names_the_call(self, counted) -> None:
        calls = counted[1]
        assert calls["GOPEN (L2)", "Deposit"].gas > 0
        assert calls["GOPEN (L2)", "Transfer (mint)"].gas == 0
        assert calls["GOPEN (L2)", "Transfer (mint)"].count == calls["GOPEN (L2)", "Deposit"].count == 1

    def test_genesis_is_kept_apart(self, counted) -> None:
        calls = counted[1]
        assert calls["OPEN (L1)", "Transfer (mint), at creation"].count == 1
        assert ("OPEN (L1)", "Transfer (mint)") not in calls
        assert calls["Parameters (L2)", "contract created"].count == 1
