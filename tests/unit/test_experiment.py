"""Experiments: twins, and execution with an engine that is a stand-in."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from models.errors import InputError
from sim.commands.run import run as run_command
from sim.economy import Economy
from sim.experiment.execute import Order, run_experiment
from sim.experiment.failures import CheckFailed
from sim.experiment.progress import Progress, read_progress
from sim.experiment.twins import without_outside_inflow, without_unlock
from sim.identities import IdentityBroken
from sim.results import load_run

sys.path.insert(0, str(Path(__file__).parent))
import synthetic_runs as toy

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
DAYS = 40


@pytest.fixture(scope="module")
def economy() -> Economy:
    from sim.engine import build_economy
    from sim.scenario import load

    overrides = [f"days={DAYS}", "runs.count=4", "runs.twin_runs=2"]
    return build_economy(load(ROOT / "scenarios" / "baseline.yaml", overrides), agents=60)


class TestTwins:
    def test_no_unlock_keeps_insiders_locked_and_money_whole(self, economy: Economy) -> None:
        twin = without_unlock(economy)
        for role in ("investors", "team"):
            assert (twin.vested[role] == economy.vested[role][0]).all()
            before = int(economy.vested[role][-1]) + economy.unvested_after[role]
            assert int(twin.vested[role][-1]) + twin.unvested_after[role] == before
        assert (twin.vested["community"] == economy.vested["community"]).all()
        assert (twin.days_to_cliff > economy.days).all()

    def test_no_outside_inflow_changes_one_parameter(self, economy: Economy) -> None:
        twin = without_outside_inflow(economy)
        theirs, ours = dict(twin.scenario.parameters()), dict(economy.scenario.parameters())
        assert [path for path in ours if theirs[path] != ours[path]] == ["market.outside_net_inflow"]
        assert (theirs["market.outside_net_inflow"].value, theirs["market.outside_net_inflow"].prior) == (
            0.0,
            None,
        )


def order(economy: Economy, out: Path, *, runs: int = 4, resume: bool = False, seed: int = 7) -> Order:
    section = economy.scenario.runs.model_copy(update={"count": runs, "seed": seed})
    changed = economy.scenario.model_copy(update={"runs": section})
    return Order(
        economy=economy_with(economy, changed),
        out=out,
        workers=1,
        chain=False,
        resume=resume,
        command="olsim run x",
    )


def economy_with(economy: Economy, scenario: object) -> Economy:
    from dataclasses import replace

    return replace(economy, scenario=scenario)


Calls = list[tuple[int, ...]]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """A stand-in for the engine that writes down which runs it was asked for."""
    calls: Calls = []
    install(monkeypatch, calls)
    return calls


def install(
    monkeypatch: pytest.MonkeyPatch, calls: Calls, fail_at: int | None = None, error: Exception | None = None
) -> None:
    def run_batch(
        economy: Economy,
        runs: np.ndarray,
        *,
        witness: int | None,
        chain: object,
        on_day: Callable[[int], None],
    ) -> object:
        assert chain is None
        calls.append(tuple(int(run) for run in runs))
        if fail_at is not None and fail_at in calls[-1] and error is not None:
            raise error
        on_day(economy.days)
        return toy.batch(
            [int(run) for run in runs], economy.days, witness=witness is not None, executed=False
        )

    monkeypatch.setitem(sys.modules, "sim.engine", SimpleNamespace(run_batch=run_batch, FAR=10**6))


def silent(progress: Progress) -> None:
    assert 0.0 <= progress.fraction <= 1.0


class TestExecution:
    def test_a_whole_run(self, economy: Economy, engine: Calls, tmp_path: Path) -> None:
        run = load_run(run_experiment(order(economy, tmp_path / "run"), silent))
        assert engine == [(0,), (1, 2, 3), (0, 1), (0, 1)]
        assert run.metrics["run"].unique().to_list() == [0, 1, 2, 3]
        assert run.twins.select("twin", "run").unique().height == 4
        assert run.manifest.status == "complete"
        assert (run.manifest.agents, run.manifest.days, run.manifest.seed) == (
            economy.layout.population,
            DAYS,
            7,
        )
        assert run.manifest.profile is not None
        assert run.manifest.parameters.total == len(run.parameters)
        assert not (tmp_path / "run" / "lock").exists()
        assert read_progress(tmp_path / "run").stage == "complete"
        assert run.unlocks["day"].max() == DAYS + 62

    def test_parameters_carry_value_class_and_place(
        self, economy: Economy, engine: Calls, tmp_path: Path
    ) -> None:
        run = load_run(run_experiment(order(economy, tmp_path / "run"), silent))
        rows = {row.path: row for row in run.parameters}
        inflow = rows["market.outside_net_inflow"]
        assert inflow.value.startswith("triangular(")
        assert inflow.evidence == "illustrative"
        assert inflow.place.split(":")[0].endswith("baseline.yaml")
        assert int(inflow.place.split(":")[1]) > 1
        assert rows["token.cap"].evidence == "documented"

    def test_the_resolved_scenario_loads_back(self, economy: Economy, engine: Calls, tmp_path: Path) -> None:
        from sim.scenario import load

        run = load_run(run_experiment(order(economy, tmp_path / "run"), silent))
        assert load(run.resolved).sha256(exclude_runs=False) == run.manifest.scenario_sha256

    def test_twice_the_same_bytes(self, economy: Economy, engine: Calls, tmp_path: Path) -> None:
        paths = [
            run_experiment(order(economy, tmp_path / name), silent) / "metrics.parquet" for name in ("a", "b")
        ]
        assert paths[0].read_bytes() == paths[1].read_bytes()

    def test_a_complete_directory_is_not_computed_again(
        self, economy: Economy, engine: Calls, tmp_path: Path
    ) -> None:
        run_experiment(order(economy, tmp_path / "run"), silent)
        before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
        engine.clear()
        run_experiment(order(economy, tmp_path / "run"), silent)
        assert engine == []
        assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before

    def test_more_runs_extend_it(self, economy: Economy, engine: Calls, tmp_path: Path) -> None:
        run_experiment(order(economy, tmp_path / "run"), silent)
        with pytest.raises(InputError, match="add --resume to extend it to 6 runs"):
            run_experiment(order(economy, tmp_path / "run", runs=6), silent)
        engine.clear()
        grown = load_run(run_experiment(order(economy, tmp_path / "run", runs=6, resume=True), silent))
        assert engine == [(4, 5)]
        full = load_run(run_experiment(order(economy, tmp_path / "full", runs=6), silent))
        assert grown.manifest.files == full.manifest.files
        assert grown.manifest.runs == 6

    def test_another_seed_is_another_run(self, economy: Economy, engine: Calls, tmp_path: Path) -> None:
        run_experiment(order(economy, tmp_path / "run"), silent)
        with pytest.raises(InputError, match="seed 7 there, 8 now"):
            run_experiment(order(economy, tmp_path / "run", seed=8, resume=True), silent)

    def test_a_killed_run_goes_on_where_it_stopped(
        self, economy: Economy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: Calls = []
        install(monkeypatch, calls, fail_at=1, error=KeyboardInterrupt())  # type: ignore[arg-type]
        with pytest.raises(KeyboardInterrupt):
            run_experiment(order(economy, tmp_path / "run"), silent)
        assert json.loads((tmp_path / "run" / "manifest.json").read_text())["status"] == "running"
        with pytest.raises(InputError, match="holds a running run of 4 runs; add --resume to continue it"):
            run_experiment(order(economy, tmp_path / "run"), silent)
        calls.clear()
        install(monkeypatch, calls)
        resumed = load_run(run_experiment(order(economy, tmp_path / "run", resume=True), silent))
        assert calls == [(1, 2, 3), (0, 1), (0, 1)]
        whole = load_run(run_experiment(order(economy, tmp_path / "whole"), silent))
        assert resumed.manifest.files == whole.manifest.files

    def test_a_broken_check_is_written_down(
        self, economy: Economy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install(monkeypatch, [], fail_at=0, error=IdentityBroken("identity 1 broken on day 3"))
        with pytest.raises(CheckFailed, match="identity 1 broken on day 3"):
            run_experiment(order(economy, tmp_path / "run"), silent)
        told = json.loads((tmp_path / "run" / "manifest.json").read_text())
        assert (told["status"], told["failure"]) == ("failed", "identity 1 broken on day 3")

    def test_bad_input_leaves_nothing_behind(
        self, economy: Economy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install(monkeypatch, [], fail_at=0, error=InputError("a table is missing"))
        with pytest.raises(InputError, match="a table is missing"):
            run_experiment(order(economy, tmp_path / "run"), silent)
        assert list(tmp_path.iterdir()) == []


class TestCommand:
    def invoke(self, *arguments: str) -> Result:
        single = typer.Typer(pretty_exceptions_enable=False)
        single.command()(run_command)
        return CliRunner().invoke(single, list(arguments))

    def test_a_broken_scenario_leaves_no_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "bad.yaml").write_text("schema: 1\nname: bad\n")
        result = self.invoke("bad.yaml", "--out", "run", "--chain", "off")
        assert isinstance(result.exception, InputError)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.yaml"]

    def test_no_workers(self) -> None:
        result = self.invoke("x.yaml", "--workers", "0")
        assert "--workers 0 is out of range; allowed 1 or more" in str(result.exception)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (("--block", "0"), "--block 0 is out of range; allowed 1 or more"),
            (("--backend", "ray"), "--backend ray: expected auto, loky, threading or dask://HOST:PORT"),
        ],
    )
    def test_a_division_that_cannot_be_meant(self, options: tuple[str, str], said: str) -> None:
        assert said in str(self.invoke("x.yaml", *options).exception)

    def test_a_dead_cluster(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("distributed")
        monkeypatch.setattr("sim.experiment.cluster.CONNECT_S", 0.5)
        baseline = str(ROOT / "scenarios" / "baseline.yaml")
        result = self.invoke(
            baseline, "--out", str(tmp_path / "run"), "--chain", "off", "--days", "3", "--agents", "50",
            "--backend", "dask://127.0.0.1:9",
        )  # fmt: skip
        assert "--backend dask://127.0.0.1:9: no dask scheduler answers there" in str(result.exception)
        assert list(tmp_path.iterdir()) == []

    def test_a_failed_check_leaves_with_1(
        self, economy: Economy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install(monkeypatch, [], fail_at=0, error=IdentityBroken("identity 7 broken on day 3"))
        monkeypatch.setattr(
            sys.modules["sim.engine"], "build_economy", lambda *_, **__: economy, raising=False
        )
        baseline = str(ROOT / "scenarios" / "baseline.yaml")
        result = self.invoke(baseline, "--out", str(tmp_path / "run"), "--chain", "off", "--workers", "1")
        assert result.exit_code == 1
        assert "check failed: identity 7 broken on day 3" in result.stderr

    def test_one_object_on_standard_output(
        self, economy: Economy, engine: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            sys.modules["sim.engine"], "build_economy", lambda *_, **__: economy, raising=False
        )
        baseline = str(ROOT / "scenarios" / "baseline.yaml")
        result = self.invoke(
            baseline, "--out", str(tmp_path / "run"), "--chain", "off", "--workers", "1", "--json"
        )
        assert result.exit_code == 0, result.output
        told = json.loads(result.stdout)
        assert (told["runs"], told["status"], told["chain"]["executed"]) == (4, "complete", False)
        assert Path(told["report"]).is_file()
        assert len(told["headline"]["lines"]) == 21


@pytest.mark.slow
def test_workers_do_not_change_a_row(economy: Economy, tmp_path: Path) -> None:
    """The engine itself, in one process and in two: every table has the same bytes."""
    from dataclasses import replace

    made = []
    for workers in (1, 2):
        ordered = replace(order(economy, tmp_path / str(workers)), workers=workers)
        made.append(load_run(run_experiment(ordered, silent)).manifest.files)
    assert made[0] == made[1]
