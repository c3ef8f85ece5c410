"""Uncertain inputs: every run lives in the scenario that its draws say, whatever is computed together."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.errors import InputError
from models.units import Duration
from sim import draws
from sim.cadcad.export import module_text
from sim.draws import Decision
from sim.economy import Economy
from sim.engine import run_batch
from sim.experiment.twins import without_outside_inflow
from sim.priors import (
    COLUMNS,
    INFLOW,
    draw_values,
    drawn_economy,
    drawn_frame,
    drawn_scenario,
    index_of,
    uncertain,
    worlds_of,
)
from sim.scenario import load
from sim.scenario.schema import Scenario

sys.path.insert(0, str(Path(__file__).parent))
import small_world as small

VOLATILITY = "market.volatility={prior: {triangular: [50, 110, 200]}, unit: '%/year'}"
PLATFORM = "fees.platform={prior: {uniform: [5 %, 20 %]}, rationale: splits of other marketplaces}"
WINDOW = "bridge.window={prior: {choice: [3 d, 7 d]}}"
RUNS = np.array([0, 3, 4])


def loaded(*settings: str) -> Scenario:
    return load(small.BASELINE, ["runs.count=8", *settings])


_AMOUNTS = "100_000 OPEN, 3_000_000 OPEN"
GOVERNED_ENDS = {
    "fees.input": "0.05 USD/1M tokens, 0.2 USD/1M tokens",
    "fees.output": "0.2 USD/1M tokens, 0.8 USD/1M tokens",
    "fees.access.paid_models": "5 %, 40 %",
    "fees.access.price": "1 USD/month, 9 USD/month",
    "fees.platform": "5 %, 20 %",
    "fees.burn": "0 %, 5 %",
    "operator_pay.rate": "0.05 USD/1M tokens, 0.3 USD/1M tokens",
    "attribution.slash.duplicate": "1 %, 50 %",
    "attribution.min_claim.times_gas": "1, 9",
    "staking.locks.long": "30 d, 365 d",
    "governance.threshold": "1_000 GOPEN, 50_000 GOPEN",
    "governance.delay": "1 d, 3 d",
    "governance.period": "3 d, 8 d",
    "governance.quorum": "2 %, 9 %",
    "governance.timelock": "1 d, 5 d",
    **{f"emission.monthly.{who}": _AMOUNTS for who in ("contributors", "builders", "stakers", "operators")},
}
"""What each governed parameter is drawn between."""


class TestDraws:
    def test_a_draw_is_the_quantile_at_the_run_s_own_uniform(self) -> None:
        scenario = loaded(VOLATILITY)
        u = draws.uniform(7, Decision.PRIOR, RUNS, 0, "world", 1, first=index_of("market.volatility"))[:, 0]
        expected = uncertain(scenario)["market.volatility"].prior.quantile(u)
        assert [float(x) for x in draw_values(scenario, RUNS)["market.volatility"]] == expected.tolist()

    def test_another_prior_changes_nobody_else_s_draws(self) -> None:
        alone, beside = (
            draw_values(loaded(*s), RUNS) for s in ([VOLATILITY], [PLATFORM, WINDOW, VOLATILITY])
        )
        assert alone["market.volatility"] == beside["market.volatility"]
        assert alone[INFLOW] == beside[INFLOW]

    def test_no_two_parameters_share_an_index(self) -> None:
        paths = [path for path, _ in loaded().parameters()]
        assert len({index_of(path) for path in paths}) == len(paths)

    def test_governed_values_are_whole_steps_and_durations_whole_days(self) -> None:
        drawn = draw_values(loaded(PLATFORM, "bridge.window={prior: {uniform: [3 d, 9 d]}}"), range(8))
        assert all(isinstance(x, Fraction) and (x * 10_000).denominator == 1 for x in drawn["fees.platform"])
        assert len(set(drawn["fees.platform"])) == 8
        assert all(
            Duration(seconds=3 * 86_400) <= x <= Duration(seconds=9 * 86_400) for x in drawn["bridge.window"]
        )
        assert all(x.seconds % 86_400 == 0 for x in drawn["bridge.window"])

    def test_many_runs_follow_the_distribution(self) -> None:
        drawn = draw_values(loaded(VOLATILITY), range(20_000))["market.volatility"]
        mean, variance = (0.5 + 1.1 + 2) / 3, (0.25 + 1.21 + 4 - 0.55 - 1.0 - 2.2) / 18
        assert abs(np.mean([float(x) for x in drawn]) - mean) < 4 * (variance / 20_000) ** 0.5

    def test_the_frame_is_in_the_unit_of_the_file(self) -> None:
        frame = drawn_frame(loaded(PLATFORM), [0, 3]).filter(pl.col("path") == "fees.platform")
        shares = draw_values(loaded(PLATFORM), [0, 3])["fees.platform"]
        assert frame["value"].to_list() == [float(share * 100) for share in shares]
        assert frame["unit"].unique().to_list() == ["%"]
        assert frame["run"].to_list() == [0, 3]


class TestWorlds:
    def test_a_drawn_world_is_the_scenario_with_its_values_written_out(self) -> None:
        values = {path: drawn[0] for path, drawn in draw_values(loaded(PLATFORM, WINDOW), [3]).items()}
        drawn = drawn_scenario(loaded(PLATFORM, WINDOW), values)
        inflow, share = values[INFLOW], values["fees.platform"]
        written = loaded(
            f"fees.platform={share * 100} %".replace(f"{share * 100}", f"{float(share * 100):g}"),
            f"bridge.window={values['bridge.window']}",
            f"{INFLOW}={inflow!r} USD/month",
        )
        assert drawn.sha256() == written.sha256()

    def test_equal_values_are_computed_together(self) -> None:
        worlds = worlds_of(small.economy(WINDOW, days=5), np.arange(8))
        assert len(worlds) == 2
        assert sorted(np.concatenate([positions for _, positions in worlds]).tolist()) == list(range(8))
        assert len(worlds_of(small.economy(days=5), np.arange(8))) == 1, "the inflow has a column of its own"
        assert len(worlds_of(small.economy(PLATFORM, days=5), np.arange(8))) == 1, (
            "and so has what a vote may change"
        )

    def test_a_prior_may_begin_on_a_date(self) -> None:
        scenario = loaded(
            "fees.input={prior: {pert: [0.05, 0.10, 0.40]}, unit: USD/1M tokens, from: 2025-11-15}"
        )
        drawn = drawn_scenario(scenario, {"fees.input": 0.2})
        assert [str(day) for day, _ in drawn.fees.input.values] == ["2025-11-15"]
        assert drawn.fees.input.prior is None

    def test_a_twin_keeps_the_luck_of_its_base(self) -> None:
        economy = small.economy(VOLATILITY, days=5)
        base, twin = drawn_economy(economy, 4), drawn_economy(without_outside_inflow(economy), 4)
        assert twin.scenario.market.volatility == base.scenario.market.volatility
        assert twin.scenario.market.outside_net_inflow.value == 0

    def test_the_gas_fees_follow_the_price(self) -> None:
        economy = small.economy("gas.price={prior: {uniform: [2, 9]}, unit: gwei/gas}", days=3)
        (alone, _), *_ = worlds_of(economy, np.array([0]))
        assert alone.gas_fees["claim"] == int(
            alone.scenario.gas.actions.claim.value * alone.scenario.gas.price.value
        )
        assert alone.gas_fees != economy.gas_fees

    @pytest.mark.slow
    def test_the_fleet_follows_what_it_is_built_from(self) -> None:
        economy = small.economy(
            "serving.fleet.0.price={prior: {uniform: [0.2, 0.9]}, unit: USD/hour}", days=3
        )
        (alone, _), *_ = worlds_of(economy, np.array([0]))
        assert alone.fleet is not economy.fleet
        assert alone.scenario.serving.fleet[0].price.value != 0.55


@pytest.mark.slow
class TestRuns:
    @pytest.fixture
    def economy(self) -> Economy:
        return small.economy(*small.BUSY, VOLATILITY, WINDOW, PLATFORM, days=40)

    def test_every_run_equals_itself_alone_in_its_drawn_world(self, economy: Economy) -> None:
        together = run_batch(economy, RUNS)
        assert together.runs.tolist() == RUNS.tolist()
        for row, run in enumerate(RUNS):
            alone = run_batch(drawn_economy(economy, int(run)), np.array([run]))
            for name, values in alone.metrics.items():
                np.testing.assert_array_equal(together.metrics[name][row], values[0], err_msg=name)

    @pytest.mark.parametrize("path", sorted(set(COLUMNS) & set(GOVERNED_ENDS)))  # a fee split takes no prior
    def test_columns_are_all_that_is_read_of_what_they_hold(self, path: str) -> None:
        ends = GOVERNED_ENDS[path]
        economy = small.economy(*small.BUSY, f"{path}={{prior: {{uniform: [{ends}]}}}}", days=25)
        assert len(worlds_of(economy, RUNS)) == 1
        together = run_batch(economy, RUNS)
        for row, run in enumerate(RUNS):
            alone = run_batch(drawn_economy(economy, int(run)), np.array([run]))
            for name, values in alone.metrics.items():
                np.testing.assert_array_equal(together.metrics[name][row], values[0], err_msg=name)

    def test_any_split_gives_the_same_rows(self, economy: Economy) -> None:
        whole, parts = run_batch(economy, RUNS), [run_batch(economy, RUNS[:1]), run_batch(economy, RUNS[1:])]
        for name, values in whole.metrics.items():
            np.testing.assert_array_equal(
                values, np.concatenate([p.metrics[name] for p in parts]), err_msg=name
            )

    def test_progress_rises_over_all_worlds(self, economy: Economy) -> None:
        days: list[int] = []
        run_batch(economy, RUNS, on_day=days.append)
        assert days == sorted(days)
        assert days[-1] == economy.days

    def test_runs_differ_by_what_they_draw(self, economy: Economy) -> None:
        platform = run_batch(economy, RUNS).metrics["fees_platform_bps"][:, -1]
        drawn = draw_values(economy.scenario, RUNS)["fees.platform"]
        assert platform.tolist() == [float(share * 10_000) for share in drawn]


class TestChecks:
    def test_what_a_run_draws_must_fit_what_it_is_joined_with(self) -> None:
        setting = "market.depth_2pct={prior: {triangular: [50_000 USD, 80_000 USD, 5_000_000 USD]}}"
        with pytest.raises(InputError, match=r"market\.depth_2pct: run \d: needs .* OPEN in the pool"):
            loaded(setting)

    def test_the_calendar_of_the_token_is_certain(self) -> None:
        with pytest.raises(
            InputError, match=r"community\.share\.prior: takes no prior: the token and its calendar"
        ):
            loaded("token.buckets.community.share={prior: {uniform: [51.71 %, 51.71 %]}}")

    def test_a_resolved_prior_reads_back_to_the_same_draws(self, tmp_path: Path) -> None:
        from ruamel.yaml import YAML

        scenario = loaded(
            PLATFORM,
            WINDOW,
            "market.volatility={prior: {normal: [110, 60]}, unit: '%/year', range: [20, 300]}",
        )
        path = tmp_path / "resolved.yaml"
        with path.open("w") as file:
            YAML().dump(scenario.resolved(), file)
        again = load(path)
        assert draw_values(again, range(8)) == draw_values(scenario, range(8))
        assert again.sha256() == scenario.sha256()

    def test_what_shares_one_scenario_among_runs_refuses_priors(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"market\.volatility: a prior is drawn anew in each run"):
            module_text(loaded(VOLATILITY), tmp_path / "x.py", agents=60, days=3, runs=1)
