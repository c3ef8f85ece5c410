"""`olsim chain demo`: every step with gas and events, in seconds."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

pytest.importorskip("eth")

from sim.chain.cli import app


def test_demo_prints_one_json_object_with_the_whole_lifecycle():
    result = CliRunner().invoke(app, ["demo", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    text = "\n".join(event for step in told["steps"] for event in step["events"])
    for part in (
        "Released(beneficiary=pool.community.l1, amount=145,500,000 OPEN",
        "name=fees.split, oldValues=[2, 2, 5], newValues=[2, 1, 6]",
        "Claimed(account=wallet.l2/contributors/0, amount=6,000 OPEN",
        "NothingToClaim(",
        "TransactionDeposited(from=pool.community.l1, to=wallet.l2/delegates/0, mint=2,000,000 OPEN",
        "GasPayingTokenSet(token=OPEN, decimals=18",
        "OutputProposed(outputRoot=",
        "MessagePassed(nonce=",
        "WithdrawalProven(withdrawalHash=",
        "proven withdrawal finalization period has not elapsed",
        "WithdrawalFinalized(withdrawalHash=",
        "withdrawal 1 is unknown or was paid",
    ):
        assert part in text
    assert told["gas_used"] == sum(step["gas_used"] for step in told["steps"]) > 10_000_000
    assert told["seconds"] < 10
    days = [step["day"] for step in told["steps"]]
    assert days == sorted(days)
    assert next(s["title"] for s in told["steps"] if s["day"] == 17).startswith("execute, 15.0000")


def test_demo_in_words():
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 0
    assert "execute, 15.00001 days after the proposal" in result.stdout
    assert "0x0000000000000000" not in result.stdout
