"""The stopping rule: what is asked for, when it stops, and how often its interval is right."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from models.errors import InputError
from sim.experiment import execute
from sim.experiment.statistics import mean_interval
from sim.experiment.until import BLOCK, FIRST_LOOK, Look, Target, look, next_runs, parse_target, run_until


def metrics(values: np.ndarray, column: str = "price_usd") -> pl.DataFrame:
    runs = len(values)
    return pl.DataFrame(
        {"run": list(range(runs)) * 2, "day": [0] * runs + [9] * runs, column: [*([0.0] * runs), *values]}
    )


class TestTargets:
    @pytest.mark.parametrize(
        ("text", "target"),
        [
            ("price_usd=0.01", Target("price_usd", 0.01)),
            ("price_usd=2 %@365", Target("price_usd", 0.02, True, 365)),
            ("treasury_gwei=1e6@0", Target("treasury_gwei", 1e6, False, 0)),
        ],
    )
    def test_forms(self, text: str, target: Target) -> None:
        assert parse_target(text, 400) == target
        assert parse_target(str(target), 400) == target

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("price=0.1", "'price' is no observable; did you mean 'price_usd'"),
            ("price_usd", "expected METRIC=WIDTH"),
            ("price_usd=0", "width 0 is out of range; allowed above 0"),
            ("price_usd=-1", "width -1 is out of range"),
            ("price_usd=1e", "width 1e is out of range"),
            ("price_usd=1@401", "day 401 is out of range; allowed 0 to 400"),
        ],
    )
    def test_what_is_none(self, text: str, message: str) -> None:
        with pytest.raises(InputError, match=message):
            parse_target(text, 400)


class TestLooks:
    def test_the_interval_is_that_of_the_day(self) -> None:
        values = np.arange(40.0)
        shown = look(metrics(values), Target("price_usd", 10.0))
        assert shown.interval == mean_interval(values)
        assert shown.met
        assert not look(metrics(values), Target("price_usd", 1.0)).met
        assert look(metrics(values), Target("price_usd", 0.5, relative=True)).met

    def test_money_is_in_tokens(self) -> None:
        shown = look(metrics(np.arange(40) * 10**9, "treasury_gwei"), Target("treasury_gwei", 10.0))
        assert shown.interval.mean == pytest.approx(19.5)

    def test_a_metric_without_values_never_ends(self) -> None:
        with pytest.raises(InputError, match="0 of 3 runs have a value on day 9; an interval needs two"):
            look(
                metrics(np.full(3, np.nan)).with_columns(pl.col("price_usd").fill_nan(None)),
                Target("price_usd", 1.0),
            )

    def test_the_next_block_follows_the_square_root(self) -> None:
        wide = Look(Target("price_usd", 1.0), mean_interval(np.arange(32.0)), met=False)
        assert next_runs([wide], 32, 10_000) == 64, "never more than as many again"
        near = Look(Target("price_usd", wide.half * 0.9), wide.interval, met=False)
        assert next_runs([near], 320, 10_000) == math.ceil(320 / 0.81)
        assert next_runs([near], 32, 10_000) == 32 + BLOCK
        assert next_runs([wide], 32, 40) == 40


class TestRule:
    @pytest.fixture
    def rule(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
        """Return the rule on runs that are normal draws: run k is the same whenever it is computed."""
        seen: list[tuple[int, bool, str]] = []

        def apply(draws: np.ndarray, target: Target, first: int = 1, most: int = 10_000):
            def run_experiment(order: SimpleNamespace, tell: object) -> Path:
                seen.append((order.economy, order.resume, order.command))
                metrics(draws[: order.economy]).write_parquet(tmp_path / "metrics.parquet")
                return tmp_path

            def fake_replace(order: SimpleNamespace, **fields: object) -> SimpleNamespace:
                return SimpleNamespace(**{**vars(order), **fields})

            monkeypatch.setattr(execute, "run_experiment", run_experiment)
            monkeypatch.setattr("sim.experiment.until.replace", fake_replace)
            monkeypatch.setattr("sim.experiment.until._with_runs", lambda order, runs: runs)
            scenario = SimpleNamespace(runs=SimpleNamespace(count=first))
            order = SimpleNamespace(economy=SimpleNamespace(scenario=scenario), resume=False, command="")
            seen.clear()
            return run_until(
                order, [target], most, print, command=lambda n: f"--runs {n}", on_look=lambda shown: None
            )

        apply.seen = seen
        return apply

    def test_it_stops_when_the_interval_is_narrow_enough(self, rule) -> None:
        draws = np.random.Generator(np.random.Philox(3)).standard_normal(10_000)
        _, (last,) = rule(draws, Target("price_usd", 0.1))
        assert last.met
        assert last.half <= 0.1
        runs = [count for count, _, _ in rule.seen]
        assert runs[0] == FIRST_LOOK
        assert runs == sorted(set(runs))
        assert 250 < runs[-1] < 600, "1.96 / 0.1 squared is 384"
        assert [resume for _, resume, _ in rule.seen] == [False] + [True] * (len(runs) - 1)
        assert rule.seen[-1][2] == f"--runs {runs[-1]}"

    def test_it_gives_up_at_the_most_runs(self, rule) -> None:
        _, (last,) = rule(np.arange(1000.0), Target("price_usd", 1e-6), most=100)
        assert not last.met
        assert rule.seen[-1][0] == 100

    def test_more_runs_than_allowed_to_begin_with(self, rule) -> None:
        with pytest.raises(InputError, match="--max-runs 10 is out of range; allowed 32 or more"):
            rule(np.arange(1000.0), Target("price_usd", 1.0), most=10)

    @pytest.mark.slow
    def test_its_interval_covers_nearly_as_often_as_it_says(self, rule) -> None:
        generator = np.random.Generator(np.random.Philox(11))
        inside = 0
        for _ in range(300):
            _, (last,) = rule(generator.standard_normal(2000), Target("price_usd", 0.2))
            inside += last.interval.low <= 0 <= last.interval.high
        assert 0.90 <= inside / 300 <= 0.99
