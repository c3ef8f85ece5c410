"""The headline: its numbers by hand, its dates and its classes."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from models.errors import InputError
from sim.experiment.statistics import spread
from sim.report.evidence import evidence_of, weakest
from sim.report.headline import default_as_of, headline, headline_object, next_unlock
from sim.report.pots import first_pot_text, first_pots
from sim.report.text import interval, number
from sim.report.verdict import verdict, warnings
from sim.results import ParameterRow, Run, load_run

sys.path.insert(0, str(Path(__file__).parent))
import synthetic_runs as toy


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return load_run(toy.run_directory(tmp_path_factory.mktemp("headline") / "run", runs=5))


def test_eight_rows_in_order(run: Run) -> None:
    assert sorted({line.row for line in headline(run).lines}) == list(range(1, 9))
    assert [line.row for line in headline(run).lines] == sorted(line.row for line in headline(run).lines)


def test_the_reference_date_is_the_end_of_month_12(run: Run) -> None:
    assert default_as_of(run) == date(2026, 9, 8)
    assert headline(run).last == date(2026, 10, 13)


def test_a_shorter_run_speaks_of_its_last_month_end_but_one(tmp_path: Path) -> None:
    short = load_run(toy.run_directory(tmp_path / "run", runs=2, days=100))
    assert default_as_of(short) == date(2025, 11, 8)


def test_a_run_of_a_day_speaks_of_its_first(tmp_path: Path) -> None:
    tiny = load_run(toy.run_directory(tmp_path / "run", runs=2, days=1))
    head = headline(tiny)
    assert head.as_of == toy.START
    assert not head.line("contributor_income_median_usd").at.known


def test_the_next_unlock_by_hand(run: Run) -> None:
    # 8 September to 8 October 2026: 30 days of the community's one a day, and the team's 50 on 9 September
    assert next_unlock(run, date(2026, 9, 8)) == 80.0
    line = headline(run).line("next_unlock")
    assert (line.at.p05, line.at.p50, line.at.p95, line.at.n) == (80.0, 80.0, 80.0, 5)
    assert line.last.p50 == 31.0  # 13 October to 13 November 2026, beyond the run's end


def test_a_share_is_the_median_of_shares(run: Run) -> None:
    # run r circulates 1000 + 100 r + day tokens
    shares = sorted(80.0 / (1000 + 100 * r + 365) for r in range(5))
    assert headline(run).line("next_unlock_of_circulating").at.p50 == pytest.approx(shares[2], rel=1e-12)


def test_quantiles_over_runs(run: Run) -> None:
    price = headline(run).line("price_usd").at  # 1, 2, 3, 4, 5 USD
    assert (price.p05, price.p50, price.p95) == pytest.approx((1.2, 3.0, 4.8))


def test_a_month_of_inflow_sums_thirty_days(run: Run) -> None:
    assert headline(run).line("outside_inflow_usd").at.p50 == pytest.approx(30 * 3.0)


def test_monthly_numbers_are_read_at_the_last_month_end(run: Run) -> None:
    line = headline(run, date(2026, 9, 20)).line("contributor_income_median_usd")
    assert line.at.p50 == 3.0
    assert line.last.p50 == 3.0


def test_a_date_outside_the_run(run: Run) -> None:
    with pytest.raises(
        InputError, match="as-of date 2027-01-01 is outside the run; allowed 2025-09-08 to 2026-10-13"
    ):
        headline(run, date(2027, 1, 1))


def test_what_always_stands_below(run: Run) -> None:
    footer = headline(run).footer
    assert (footer.residual_gwei, footer.chain_diff_wei, footer.reconciled_epochs) == (0, 0, 13)
    assert (footer.illustrative_share, footer.seed, footer.command) == (0.5, 7, "olsim run toy.yaml")


def test_classes_of_the_weakest_input(run: Run) -> None:
    head = headline(run)
    assert head.line("next_unlock").evidence == "documented"
    assert head.line("latency_p95_s").evidence == "estimated"
    assert head.line("price_usd").evidence == "illustrative"
    assert evidence_of(run.parameters, ["unlocked_gwei", "latency_p95_s"]) == "estimated"
    assert weakest([ParameterRow("tokens.x", "1", "measured")], ["token"]) == "illustrative"


def test_plain_data_for_json(tmp_path: Path) -> None:
    tiny = headline(load_run(toy.run_directory(tmp_path / "run", runs=2, days=1)))
    lines = {line["key"]: line for line in headline_object(tiny)["lines"]}
    assert lines["contributor_income_median_usd"]["as_of"] == {"p05": None, "p50": None, "p95": None, "n": 0}
    assert lines["price_usd"]["class"] == "illustrative"


def test_the_verdict_names_both_inflows_and_the_interval(run: Run) -> None:
    text = verdict(headline(run))
    assert text.startswith("In the month after 2026-09-08, 80.0 OPEN unlock: 5.11 % of circulating supply (")
    assert "Fees and buyback pay for 300 % of the unlocked tokens that are sold (120 to 480 %)" in text
    assert "outside inflow of 90.0 USD a month (36.0 to 144)" in text
    assert "A vote reaches quorum with a probability of 300 %" in text  # the toy's columns are all 1 + run
    assert "“proposal 1” passes in 3 of 5 runs (60.0 %) and is executed in 3, on 2025-12-17." in text
    assert "5 to 95 % of 5 runs; weakest input: illustrative" in text


def test_a_month_without_unlocks_is_said_so(run: Run) -> None:
    head = headline(run)
    line = head.line("next_unlock")
    for value, said in ((spread([0.0]), "nothing unlocks"), (spread([]), "The calendar does not reach")):
        lines = tuple(replace(one, at=value) if one is line else one for one in head.lines)
        assert said in verdict(replace(head, lines=lines))


def test_the_first_pot_by_hand(tmp_path: Path) -> None:
    directory = toy.run_directory(tmp_path / "run", runs=3)
    pots = load_run(directory)
    assert headline(pots).first_pot == "on 2026-09-08 no pot shrinks"  # the toy's amounts rise
    day = pl.col("day") * toy.GWEI
    # every treasury loses a token a day (30 a month); the staking pot of run 0 loses three
    staking = pl.col("staking_pot_gwei") - pl.when(pl.col("run") == 0).then(4 * day).otherwise(0)
    treasury = pl.col("treasury_gwei") - 2 * day
    pots.__dict__["metrics"] = pots.metrics.with_columns(staking_pot_gwei=staking, treasury_gwei=treasury)
    assert first_pots(pots, 300) == {"staking pot": 1, "treasury": 2}
    assert first_pot_text(pots, date(2026, 7, 5), 300) == (
        "first empty is the treasury in 2 of 3 runs, the staking pot in 1 of 3 runs"
    )


@pytest.mark.parametrize(
    ("value", "evidence"),
    [("0 %", "documented"), ("2025-09-08: 0 %; 2026-01-01: 0 %", "documented"), ("0.5 %", "illustrative"),
     ("2025-09-08: 0 %; 2026-01-01: 1 %", "illustrative")],
)  # fmt: skip
def test_a_switch_that_is_off_is_no_input(value: str, evidence: str) -> None:
    rows = [ParameterRow("token.cap", "1", "documented"), ParameterRow("fees.burn", value, "illustrative")]
    assert evidence_of(rows, ["circulating_tracker_gwei"]) == evidence


@pytest.mark.parametrize(
    ("rate", "evidence"), [("0.1 USD/1M tokens", "documented"), ("2 OPEN/1M tokens", "illustrative")]
)
def test_fees_rest_on_rates_unless_the_price_moves_them(rate: str, evidence: str) -> None:
    rows = [ParameterRow("fees.input", rate, "documented"), ParameterRow("market.fee", "1 %", "illustrative")]
    assert evidence_of(rows, ["fee_usd_per_1m"]) == evidence


def test_a_profile_of_another_model_is_warned_of(run: Run) -> None:
    said = " ".join(warnings(run.manifest))
    assert "price a model like 8B dense (8.00 B parameters)" in said
    assert "profile cpu-toy measured llama with 5.00 M parameters" in said
    assert "5 runs are too few" in said


def test_no_warning_where_profile_and_fees_agree(run: Run) -> None:
    assert run.manifest.profile is not None
    fitting = run.manifest.profile.model_copy(update={"model_params": 8_030_000_000})
    assert warnings(run.manifest.model_copy(update={"profile": fitting, "runs": 64})) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"profile": None}, "was not measured"),
        ({"notes": ("allocations miss the cap",)}, "allocations miss the cap"),
        ({"chain": toy.ChainFacts(executed=False, witness_run=0)}, "The chain was off"),
    ],
)
def test_other_warnings(run: Run, changes: dict[str, object], said: str) -> None:
    assert any(said in text for text in warnings(run.manifest.model_copy(update=changes)))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "", "0"), (999.4, "", "999"), (999.6, "", "1,000"), (9_999.0, "", "10,000"),
        (12_345.0, "", "12.3 k"),
        (2.5e9, "", "2.50 B"), (-1234.5, "USD", "-1,230"), (1e-7, "", "< 0.0001"),
        (-1e-7, "", "> -0.0001"), (0.9999, "share", "100 %"), (1.0, "share", "100 %"),
        (math.inf, "", "–"),
    ],
)  # fmt: skip
def test_numbers_as_people_read_them(value: float, unit: str, text: str) -> None:
    assert number(value, unit) == text


@pytest.mark.parametrize(
    ("low", "high", "unit", "text"),
    [
        (2.0, 2.0, "", "same in all runs"), (2.0001, 2.0002, "", "same to 3 digits"),
        (-1e-5, -1e-6, "", "about 0"), (-0.0331, 0.00263, "share", "-3.31 to 0.263 %"),
        (math.nan, 1.0, "", "–"),
    ],
)  # fmt: skip
def test_intervals_as_people_read_them(low: float, high: float, unit: str, text: str) -> None:
    assert interval(low, high, unit) == text
