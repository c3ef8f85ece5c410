"""A witness run over anvil: the same rows as in this process, 0 wei apart, and nodes that it refuses."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from datetime import date

import pytest
import typer

pytest.importorskip("eth")

from sim import cli
from sim.chain.backends.connect import connect
from sim.chain.backends.transport import NodeError
from sim.chain.evm import L1_CHAIN_ID, L2_CHAIN_ID
from sim.chain.witness import ChainWitness
from sim.results import load_run
from sim.witness_deployment import midnight
from tests.differential.anvil_node import anvil, needs_anvil
from tests.unit import witness_ledger as small

pytestmark = [pytest.mark.slow, needs_anvil]

DAY = 86_400
GENESIS = small.T0 - DAY
FREE = ("--gas-price", "0", "--block-base-fee-per-gas", "0", "--gas-limit", "60000000")


def node(chain_id, timestamp=GENESIS - 1, options=FREE):
    return anvil("--chain-id", str(chain_id), "--timestamp", str(timestamp), *options)


@pytest.fixture(scope="module")
def pair():
    """Two epochs of flows of every kind, on chains in this process and on two nodes."""
    witnesses = [ChainWitness(small.SPEC, day0_timestamp=small.T0)]
    with ExitStack() as stack:
        chains = {}
        for name, chain_id in (("l1", L1_CHAIN_ID), ("l2", L2_CHAIN_ID)):
            address = stack.enter_context(node(chain_id)).address
            chains[name] = connect(address, chain_id=chain_id, genesis_time=GENESIS)
            stack.callback(chains[name].close)
        witnesses.append(ChainWitness(small.SPEC, day0_timestamp=small.T0, **chains))
        for witness in witnesses:
            ledger = small.Ledger()
            for epoch, days in enumerate((35, 30)):
                witness.replay(small.play(ledger, days), through_day=ledger.day - 1)
                small.reconciled(witness, ledger, epoch)
        yield witnesses


def test_rows_are_the_same_and_0_wei_apart(pair):
    here, there = pair
    assert (there.reconciled_epochs, there.max_abs_diff_wei) == (2, 0)
    assert [replace(row, gas_used=0) for row in here.chain_rows] == [
        replace(row, gas_used=0) for row in there.chain_rows
    ]


def test_gas_differs_at_the_portal_and_its_outputs_alone(pair):
    """Blocks price a deposit, and roots of another chain have other zero bytes; everything else costs the same."""
    here, there = pair
    bridge = {address: name for name, address in here.bridge.contracts.items()}
    assert here.bridge.contracts == there.bridge.contracts
    other = set()
    for ours, theirs in ((here.l1, there.l1), (here.l2, there.l2)):
        assert ours.transaction_count == theirs.transaction_count
        for one, two in zip(ours.receipts, theirs.receipts, strict=True):
            assert (one.sender, one.to, one.status, one.timestamp) == (
                two.sender,
                two.to,
                two.status,
                two.timestamp,
            )
            if one.gas_used != two.gas_used:
                other.add(bridge.get(one.to, one.to))
                assert abs(one.gas_used - two.gas_used) < 30_000
    assert other <= {"OptimismPortal", "L2OutputOracle"}


def test_state_is_the_same(pair):
    here, there = pair
    for name, address in here.deployment.contracts.items():
        on_l2 = bool(here.l2.code(address))
        ours, theirs = (here.l2, there.l2) if on_l2 else (here.l1, there.l1)
        assert (ours.code(address), ours.balance(address)) == (
            theirs.code(address),
            theirs.balance(address),
        ), name


def test_going_back_and_forth(pair):
    _, there = pair
    chain = there.l2
    before = chain.time, chain.block_number, chain.transaction_count
    snapshot = chain.snapshot()
    for _ in range(2):
        chain.set_time(chain.time + 60)
        chain.mint_native(b"\xa1" * 20, 5)
        chain.send(b"\xa1" * 20, b"\xb2" * 20, value=5)
        chain.revert(snapshot)
        assert (chain.time, chain.block_number, chain.transaction_count) == before
        assert chain.balance(b"\xb2" * 20) == 0


def run(out, place, root):
    words = [
        "run", str(root / "scenarios" / "baseline.yaml"), "--runs", "1", "--days", "62", "--agents", "120",
        "--out", str(out), "--workers", "1", "--chain", place, "--json",
    ]  # fmt: skip
    try:
        return cli.run(lambda: typer.main.get_command(cli.app).main(words, "olsim"))
    except SystemExit as left:
        return left.code


def test_the_command_gives_the_same_tables(tmp_path, root, capsys):
    """L2 at a node and L1 in the process; metrics and accounts are the same bytes."""
    assert run(tmp_path / "here", "on", root) == 0
    here = json.loads(capsys.readouterr().out)
    start = load_run(tmp_path / "here").manifest.start
    with node(L2_CHAIN_ID, midnight(date.fromisoformat(start)) - DAY - 1) as l2:
        assert run(tmp_path / "there", f"rpc://{l2.address}", root) == 0
        there = json.loads(capsys.readouterr().out)
        assert run(tmp_path / "again", f"rpc://{l2.address}", root) == 2
        assert f"{l2.address}: has " in capsys.readouterr().err
    assert not (tmp_path / "again").exists()
    assert there["chain"]["l2"].startswith("anvil/")
    assert (there["chain"]["l1"], there["chain"]["max_abs_diff_wei"]) == ("in-process", 0)
    assert there["chain"]["transactions"] == here["chain"]["transactions"] > 500
    assert there["chain"]["transactions_per_s"] > 0
    files = [load_run(tmp_path / name).manifest.files for name in ("here", "there")]
    same = {name for name in files[0] if files[0][name] == files[1][name]}
    assert same >= set(files[0]) - {"chain.parquet"}
    columns = [load_run(tmp_path / name).chain.drop("gas_used") for name in ("here", "there")]
    assert columns[0].equals(columns[1])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"chain_id": 31_337}, "has chain id 31337; expected 900161; start one with: anvil"),
        ({"timestamp": GENESIS + 5}, "the run begins at"),
        ({"options": ()}, "has a base fee of"),
    ],
)
def test_what_a_node_must_be(options, match):
    with (
        node(**({"chain_id": L2_CHAIN_ID} | options)) as unusable,
        pytest.raises(NodeError, match=match) as caught,
    ):
        connect(unusable.address, chain_id=L2_CHAIN_ID, genesis_time=GENESIS)
    assert str(caught.value).startswith(unusable.address)
