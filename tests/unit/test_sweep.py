"""Sweeps: points are ordinary scenarios, runs have the same luck at all of them, and nothing is computed twice."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.errors import InputError
from sim.cli import run
from sim.commands.sweep import merged, read_over, sweep
from sim.engine import run_batch
from sim.report.sweep import page_blocks, read_sweep_directory, verdict
from sim.scenario import load
from sim.scenario.sweeping import Sweep, read_sweep
from sim.sweeps import execute
from sim.sweeps.execute import Order, run_sweep
from sim.sweeps.plan import Plan, make_plan

sys.path.insert(0, str(Path(__file__).parent))
import small_world as small

BASE = ["days=12", "runs.count=3"]
GRID = {
    "over": {
        "market.depth_2pct": ["40_000 USD", "90_000 USD"],
        "agents.holders.sell.monthly": ["1 %", "500 bps"],
    },
    "metrics": ["price_usd", "circulating_gwei", "holder_gini"],
    "at": ["6 d", "12 d"],
}


def planned(data: dict, *settings: str) -> Plan:
    return make_plan(small.BASELINE, [*BASE, *settings], read_sweep(data))


def ordered(plan: Plan, out: Path, **options: object) -> Order:
    economy = small.economy(*BASE, agents=60, days=12)
    told = {"agents": 60, "workers": 1, "resume": False, "command": "olsim sweep", **options}
    return Order(plan=plan, economy=economy, out=out, **told)


def quietly(order: Order) -> Path:
    return run_sweep(order, lambda progress: None)


class TestPoints:
    def test_a_grid_is_every_combination_in_the_unit_of_the_first_value(self) -> None:
        plan = planned(GRID)
        assert [point.texts for point in plan.points] == [
            ("40000 USD", "1 %"), ("40000 USD", "5 %"), ("90000 USD", "1 %"), ("90000 USD", "5 %"),
        ]  # fmt: skip
        assert plan.points[3].scenario.market.depth_2pct.value == 90_000
        assert plan.days == (6, 12)

    def test_a_point_is_what_set_would_give(self) -> None:
        point = planned(GRID).points[1]
        written = load(
            small.BASELINE, [*BASE, "market.depth_2pct=40_000 USD", "agents.holders.sell.monthly=5 %"]
        )
        assert point.scenario.sha256(exclude_runs=False) == written.sha256(exclude_runs=False)

    @pytest.mark.parametrize("mode", ["latin", "sobol", "morris", "tornado"])
    def test_samples_span_their_axes_and_are_keyed_by_the_seed(self, mode: str) -> None:
        data = {
            "mode": mode,
            "points": 4,
            "over": {
                "market.depth_2pct": {"from": "20_000 USD", "to": "80_000 USD", "scale": "log"},
                "market.outside_net_inflow": "prior",
                "governance.quorum": {"from": "3 %", "to": "8 %"},
                "bridge.window": {"from": "3 d", "to": "12 d"},
            },
        }
        plan, again, other = planned(data), planned(data), planned(data, "runs.seed=8")
        assert [p.texts for p in plan.points] == [p.texts for p in again.points]
        assert mode == "tornado" or [p.texts for p in plan.points] != [p.texts for p in other.points]
        rows = {"latin": 4, "sobol": 4 * 6, "morris": 4 * 5, "tornado": 9}
        assert len(plan.points) == rows[mode]
        for point in plan.points:
            assert 20_000 <= point.scenario.market.depth_2pct.value <= 80_000
            assert point.scenario.governance.quorum.value * 10_000 % 1 == 0, "a vote sets whole basis points"
            assert mode == "tornado" or point.scenario.market.outside_net_inflow.prior is None

    def test_a_dated_value_keeps_its_date(self) -> None:
        plan = planned({"over": {"fees.input": ["0.05 USD/1M tokens", "0.2 USD/1M tokens"]}})
        values = [point.scenario.fees.input.values for point in plan.points]
        assert [(str(day), value) for ((day, value),) in values] == [
            ("2025-11-15", 0.05),
            ("2025-11-15", 0.2),
        ]

    def test_plain_values_can_be_varied_too(self) -> None:
        data = {
            "mode": "zip",
            "over": {
                "serving.fleet.0.count": {"from": "4", "to": "8", "steps": 2},
                "serving.routing": ["capacity", "cheapest"],
            },
        }
        plan = planned(data)
        assert [(p.scenario.serving.fleet[0].count, p.scenario.serving.routing) for p in plan.points] == [
            (4, "capacity"), (8, "cheapest"),
        ]  # fmt: skip

    def test_a_sweep_is_no_part_of_the_world(self) -> None:
        plain, beside = (load(small.BASELINE, s) for s in ([], ["sweep={over: {fees.burn: [0 %, 1 %]}}"]))
        assert plain.sha256(exclude_runs=False) == beside.sha256(exclude_runs=False)
        assert isinstance(beside.sweep, Sweep)


BAD = {
    "unknown path": (
        {"over": {"market.depht_2pct": ["1 USD"]}},
        r"point 0 \(market.depht_2pct=1 USD\): .*unknown key; did you mean 'depth_2pct'",
    ),
    "unit": (
        {"over": {"governance.quorum": ["4", "5 %"]}},
        "governance.quorum: '4' has no unit; expected a number with unit",
    ),
    "range": (
        {"over": {"fees.platform": ["10 %", "60 %"]}},
        "'60 %' is outside the parameter's range; allowed 0 % to 50 %",
    ),
    "falls": (
        {"over": {"governance.quorum": {"from": "8 %", "to": "4 %"}}},
        "goes from 8 % to 4 %; the first must be less",
    ),
    "log": (
        {"over": {"market.outside_net_inflow": {"from": "0 USD/month", "to": "9 USD/month", "scale": "log"}}},
        "scale log needs a value above 0",
    ),
    "dates": (
        {"over": {"emission.airdrops": ["1 OPEN", "2 OPEN"]}},
        "has several dates; name one, such as emission.airdrops.at.2025-09-08",
    ),
    "a point that is no scenario": (
        {"over": {"market.depth_2pct": ["80_000 USD", "9_000_000 USD"]}},
        r"point 1 \(market.depth_2pct=9000000 USD\): .*more than the 50,000,000 OPEN",
    ),
    "too late": (
        {"over": {"fees.burn": ["0 %"]}, "at": ["13 d"]},
        "sweep.at: day 13 is after the last day; allowed 0 d to 12 d",
    ),
    "not whole": (
        {"over": {"serving.fleet.0.count": {"from": "1", "to": "2.5"}}},
        "its span needs whole numbers",
    ),
    "no prior": ({"mode": "latin", "over": {"fees.burn": "prior"}}, "has no prior; say from and to"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_swept_is_named(name: str) -> None:
    data, message = BAD[name]
    with pytest.raises(InputError, match=message):
        planned(data)


class TestCommandLine:
    def test_over(self) -> None:
        assert read_over("market.outside_net_inflow=prior") == ("market.outside_net_inflow", "prior")
        for text in ("market.volatility", "=1 %", "market.volatility=", "market.volatility=1 %..2 %:x"):
            with pytest.raises(InputError, match="--over"):
                read_over(text)

    def test_options_take_the_place_of_the_file_part_by_part(self) -> None:
        said = read_sweep(GRID)
        found = merged(said, [], "tornado", None, ["price_usd"], [])
        assert found is not None
        assert (found.mode, found.metrics, found.over, found.at) == (
            "tornado",
            ("price_usd",),
            said.over,
            said.at,
        )
        assert merged(None, [], "grid", None, [], []) is None

    def test_no_sweep_at_all(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(lambda: sweep(small.BASELINE)) == 2
        assert "sweep: is missing; a sweep needs it, or --over" in capsys.readouterr().err


@pytest.mark.slow
class TestExecution:
    def test_rows_are_those_of_each_point_run_alone(self, tmp_path: Path) -> None:
        plan = planned(GRID)
        directory = quietly(ordered(plan, tmp_path / "s"))
        frame = pl.read_parquet(directory / execute.FRAME)
        axes = ["market.depth_2pct [USD]", "agents.holders.sell.monthly [%]"]
        assert frame.columns == ["point", *axes, "run", "metric", "unit", "day", "value"]
        assert frame.height == 4 * 3 * 3 * 2
        settings = [*BASE, "market.depth_2pct=90_000 USD", "agents.holders.sell.monthly=1 %"]
        alone = run_batch(small.economy(*settings, agents=60, days=12), np.arange(3)).metrics
        chosen = frame.filter(
            (pl.col("point") == 2) & (pl.col("metric") == "price_usd") & (pl.col("day") == 6)
        )
        assert chosen["value"].to_list() == alone["price_usd"][:, 6].tolist()
        assert chosen["market.depth_2pct [USD]"].unique().to_list() == [90_000]
        money = frame.filter(
            (pl.col("point") == 2) & (pl.col("metric") == "circulating_gwei") & (pl.col("day") == 12)
        )
        assert money["value"].to_list() == (alone["circulating_gwei"][:, 12] / 1e9).tolist()

    def test_workers_and_interruptions_change_no_byte(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plan = planned(GRID)
        once = quietly(ordered(plan, tmp_path / "once"))
        twice = quietly(ordered(plan, tmp_path / "twice", workers=2, backend="loky"))
        torn = ordered(plan, tmp_path / "torn")
        real, calls = execute.compute, []

        def dying(task: object, on_day: object) -> pl.DataFrame:
            calls.append(task)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return real(task, on_day)

        monkeypatch.setattr(execute, "compute", dying)
        with pytest.raises(KeyboardInterrupt):
            quietly(torn)
        with pytest.raises(InputError, match="holds a running sweep of 4 points; add --resume"):
            quietly(torn)
        quietly(ordered(plan, tmp_path / "torn", resume=True))
        assert len(calls) == 3 + 2, "what had landed is not computed again"
        for name in (execute.FRAME, execute.OUTCOMES, execute.POINTS):
            assert (
                (once / name).read_bytes()
                == (twice / name).read_bytes()
                == (tmp_path / "torn" / name).read_bytes()
            )

    def test_a_larger_grid_computes_what_it_lacks(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out, seen = tmp_path / "s", []
        quietly(ordered(planned({"over": {"fees.burn": ["0 %", "1 %"]}, "metrics": ["price_usd"]}), out))
        larger = planned({"over": {"fees.burn": ["0 %", "1 %", "2 %"]}, "metrics": ["price_usd"]})
        real = execute.compute
        monkeypatch.setattr(
            execute, "compute", lambda task, day: (seen.append(task.point), real(task, day))[1]
        )
        quietly(ordered(larger, out, resume=True))
        assert seen == [2]
        assert quietly(ordered(larger, out)) == out, "a complete sweep is left alone"

    def test_a_corrupt_shard_is_named_and_computed_again(self, tmp_path: Path) -> None:
        plan, notes = planned({"over": {"fees.burn": ["0 %", "1 %"]}, "metrics": ["price_usd"]}), []
        out = quietly(ordered(plan, tmp_path / "s"))
        before = (out / execute.FRAME).read_bytes()
        shard = sorted((out / execute.PARTS).iterdir())[1]
        shard.write_bytes(shard.read_bytes()[:40])
        facts = json.loads((out / execute.FACTS).read_text())
        (out / execute.FACTS).write_text(json.dumps({**facts, "status": "running"}))
        run_sweep(ordered(plan, out, resume=True), lambda progress: notes.extend(progress.notes))
        assert (out / execute.FRAME).read_bytes() == before
        assert shard.name in notes[0]
        assert shard.with_suffix(".corrupt").is_file()

    def test_files_of_another_code_version_are_not_taken(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plan, notes = planned({"over": {"fees.burn": ["0 %", "1 %"]}, "metrics": ["price_usd"]}), []
        out = quietly(ordered(plan, tmp_path / "s"))
        monkeypatch.setattr("sim.sweeps.task.code_version", lambda: "another")
        run_sweep(ordered(plan, out, resume=True), lambda progress: notes.extend(progress.notes))
        assert "2 files of other points, runs or code in parts/ are not used" in notes
        assert len(list((out / execute.PARTS).iterdir())) == 4

    def test_the_example_of_the_readme(self, tmp_path: Path) -> None:
        path = small.ROOT / "scenarios" / "sweeps" / "price_drivers.yaml"
        said = load(path).sweep
        assert said is not None
        tiny = said.model_copy(update={"points": 2, "at": ()})
        plan = make_plan(path, ["days=4", "runs.count=2"], tiny)
        economy = small.economy("days=4", agents=60, file=path)
        found = read_sweep_directory(
            quietly(
                Order(plan, economy, 60, tmp_path / "s", workers=2, resume=False, command="", backend="loky")
            )
        )
        assert found.indices.height == 2 * len(said.over) * len(said.metrics)

    def test_another_directory_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(InputError, match="holds no sweep; choose another --out"):
            quietly(ordered(planned(GRID), tmp_path))

    @pytest.mark.parametrize("mode", ["grid", "tornado", "sobol", "morris", "latin"])
    def test_every_design_has_its_page(self, mode: str, tmp_path: Path) -> None:
        over = {"market.depth_2pct": {"from": "40_000 USD", "to": "90_000 USD", "steps": 2},
                "agents.holders.sell.monthly": {"from": "1 %", "to": "6 %", "steps": 2}}  # fmt: skip
        plan = planned({"mode": mode, "points": 4, "over": over, "metrics": ["price_usd", "fee_gross_usd"]})
        found = read_sweep_directory(quietly(ordered(plan, tmp_path / "s")))
        blocks = page_blocks(found)
        assert sum(type(block).__name__ == "Picture" for block in blocks) == 1, "fees are 0 at all points"
        assert verdict(found).startswith("On day 12, market price goes from")
        assert found.indices.height == {"sobol": 8, "morris": 8, "latin": 4}.get(mode, 0)

    def test_the_command(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "s"
        code = run(
            lambda: sweep(
                small.BASELINE,
                over=["governance.quorum=4 %,6 %"],
                metric=["price_usd"],
                runs=2,
                agents=60,
                days=5,
                out=out,
                workers=1,
                as_json=True,
            )
        )
        told = json.loads(capsys.readouterr().out)
        assert (code, told["points"], told["runs"], told["mode"]) == (0, 2, 2, "grid")
        assert [row["runs"] for row in told["outcomes"]] == [2, 2]
        assert (
            "<svg" in (out / "sweep.html").read_text() or "at all points" in (out / "sweep.html").read_text()
        )
