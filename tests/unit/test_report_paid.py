"""Who is paid, and why: parts of a fee add up, rules name values and places, runs agree with the witness."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from sim.report.blocks import Paragraph, Table
from sim.report.paid import paid_blocks
from sim.report.payees import FEES, OTHER, PROGRAMMES, paid_month, payments
from sim.results import ParameterRow, Run, load_run

sys.path.insert(0, str(Path(__file__).parent))
import synthetic_runs as toy

G = toy.GWEI
AS_OF = date(2026, 9, 8)
FLOWS = (
    ("B1", "prepaid/users", "clearing", 100 * G + 3),
    ("B2", "clearing", "operators_pot", 6 * G),
    ("B2", "clearing", "treasury.l2", 4 * G),
    ("B3", "clearing", "distributor", 20 * G),
    ("B4", "clearing", "staking_rewards", 20 * G),
    ("B5", "clearing", "distributor", 50 * G + 3),
    ("A1", "distributor", "treasury.l2", 5 * G),
    ("E1", "pool.community.l1", "wallet.l1/holders", 9 * G),
    ("E2", "pool.community.l2", "distributor", 30 * G),
    ("E3", "pool.community.l2", "staking_rewards", 8 * G),
    ("E4", "pool.community.l2", "operators_pot", 2 * G),
    ("R1", "pool.ecosystem.l2", "wallet.l2/public_goods", 1 * G),
    ("C2", "wallet.l2/users", "gas_vault", 10),
    ("C2", "gas_vault", "wallet.l2/sequencer", 4),
    ("C2", "gas_vault", "treasury.l2", 6),
    ("S2", "staking_rewards", "stake/holders", 7 * G),
    ("X1", "wallet.l1/users", "transit_deposit/users", 7 * G),
)
PARAMETERS = (
    ParameterRow("fees.split", "model 2, stakers 2, contributors 5", "illustrative", place="a.yaml:46:10"),
    ParameterRow("emission.monthly.contributors", "2000000 OPEN", "illustrative", place="a.yaml:38:27"),
    ParameterRow("emission.monthly.builders", "1000000 OPEN", "illustrative", place="a.yaml:38:53"),
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose users pay 2 tokens a day at 5 USD, of which a tenth is the platform's."""
    run = load_run(toy.run_directory(tmp_path / "run", runs=3))
    days = [(0, 365, run.start, *flow) for flow in FLOWS] + [(0, 334, run.start, *FLOWS[0])]
    kinds = run.flows.schema
    run.__dict__["flows"] = pl.DataFrame(days, schema=kinds, orient="row")
    run.__dict__["parameters"] = PARAMETERS
    run.__dict__["metrics"] = run.metrics.with_columns(
        fee_gross_gwei=pl.lit(2000), fee_net_gwei=pl.lit(1800), stakers_fee_gwei=pl.lit(400),
        fee_gross_usd=pl.lit(1e-5), split_model_weight=pl.lit(2.0), split_stakers_weight=pl.lit(2.0),
        split_contributors_weight=pl.lit(5.0), emission_gwei=pl.lit(6000), stakers_emission_gwei=pl.lit(100),
        price_usd=pl.lit(4.0),
    )  # fmt: skip
    return run


def test_the_parts_of_a_fee_are_what_users_paid() -> None:
    paid = payments(FLOWS, {"contributors": 2, "builders": 1})
    assert sum(one.gwei for one in paid if one.reason == FEES) == 100 * G + 3


def test_payees_and_reasons_by_hand(run: Run) -> None:
    month = paid_month(run, AS_OF)
    assert month is not None
    assert (month.after, month.until) == (date(2026, 8, 8), AS_OF)
    assert month.users_gwei == month.gwei(reason=FEES) == 100 * G + 3
    assert month.gwei("contributors", FEES) == 45 * G + 3
    assert month.gwei("treasury", FEES) == 9 * G
    assert month.gwei("treasury", OTHER) == 6
    assert month.gwei("sequencer") == 4
    assert month.gwei("contributors", PROGRAMMES) == 20 * G
    assert month.gwei("builders", PROGRAMMES) == 10 * G
    assert month.gwei("stakers") == 28 * G  # what the pot got, not what it paid
    assert month.gwei("operators") == 8 * G


def test_fees_are_worth_what_they_were_billed_at(run: Run) -> None:
    month = paid_month(run, AS_OF)
    assert month is not None
    assert month.usd("stakers", FEES) == pytest.approx(20 * 5.0)
    assert month.usd("stakers") == pytest.approx(20 * 5.0 + 8 * 4.0)


def test_all_runs_by_the_weights_in_force(run: Run) -> None:
    month = paid_month(run, AS_OF)
    assert month is not None
    tokens = {name: round(values[2] * G / 31) for name, values in month.over_runs.items()}
    assert tokens == {
        "users": 2000, "platform": 200, "stakers": 400, "builders": 400, "contributors": 1000, "burned": 0,
        "programme.stakers": 100, "programmes": 6000,
    }  # fmt: skip


def test_without_a_stakers_part_the_others_are_not_guessed(run: Run) -> None:
    run.__dict__["metrics"] = run.metrics.with_columns(
        split_stakers_weight=pl.lit(0.0), stakers_fee_gwei=pl.lit(0)
    )
    month = paid_month(run, AS_OF)
    assert month is not None
    assert month.over_runs["builders"].tolist() != month.over_runs["builders"].tolist()  # NaN
    tables = [block for block in paid_blocks(run, AS_OF) if isinstance(block, Table)]
    assert next(row for row in tables[1].rows if "(B3)" in row[1])[4] == "–"


def test_the_rules_name_values_and_places(run: Run) -> None:
    rules = {(row[0], row[1]): row for row in tables_of(run)[1].rows}
    said = rules["contributors", "fees: contributors' part (B5)"][5]
    assert said.startswith("5 of 9 parts of the net fee")
    assert said.endswith("(fees.split, a.yaml:46)")
    programme = rules["contributors", "programme (E2)"][5]
    assert programme.startswith("2,000,000 OPEN a month")
    assert "changed by a vote" not in said
    assert rules["together", "parts of the fee"][5] == "equal to what users paid: difference 0 gwei"


def test_weights_that_a_vote_changed_are_said_so(run: Run) -> None:
    run.__dict__["metrics"] = run.metrics.with_columns(split_contributors_weight=pl.lit(6.0))
    rows = tables_of(run)[1].rows
    said = next(row[5] for row in rows if "(B5)" in row[1])
    assert said.startswith("6 of 10 parts")
    assert "changed by a vote" in said


def test_a_fee_that_is_not_whole_is_told(run: Run) -> None:
    run.__dict__["flows"] = run.flows.filter(pl.col("flow") != "B3")
    said = next(row[5] for row in tables_of(run)[1].rows if row[1] == "parts of the fee")
    assert said == "not what users paid: difference 20,000,000,000 gwei"


def test_before_the_first_month_nobody_is_paid(run: Run) -> None:
    blocks = paid_blocks(run, run.start)
    assert isinstance(blocks[1], Paragraph)
    assert "nothing was paid out" in blocks[1].text


def tables_of(run: Run) -> list[Table]:
    return [block for block in paid_blocks(run, AS_OF) if isinstance(block, Table)]
