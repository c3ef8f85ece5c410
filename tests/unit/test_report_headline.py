"""The headline: its numbers by hand, its dates and its classes."""

from __future__ import annotations

import math
import sys
from datetime import date
from pathlib import Path

import pytest

from models.errors import InputError
from sim.report.evidence import evidence_of, weakest
from sim.report.headline import default_as_of, headline, headline_object, next_unlock
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
    assert "fees and buyback pay for 3.00 times" in text
    assert "(1.20 to 4.80)" in text
    assert "outside inflow of 90.0 USD a month (36.0 to 144)" in text
    assert "5 to 95 % of 5 runs; weakest input: illustrative" in text


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
        (2.5e9, "", "2.50 B"), (-1234.5, "USD", "-1,230"), (1e-7, "", "1.00e-07"), (1.0, "share", "100 %"),
        (math.inf, "", "–"),
    ],
)  # fmt: skip
def test_numbers_as_people_read_them(value: float, unit: str, text: str) -> None:
    assert number(value, unit) == text


def test_an_interval_of_one_value() -> None:
    assert interval(2.0, 2.0) == "same in all runs"
