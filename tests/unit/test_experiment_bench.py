"""`olsim bench experiment`: its figures, what is scaled up, what is missing, and its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from sim.bench import Figure
from sim.experiment.progress import Progress
from sim.experiment_bench import command, ensemble, luck, peer, serving
from sim.experiment_bench.ensemble import EnsembleSize, ensemble_figure, tenths
from sim.scenario import load

BASELINE = Path(__file__).resolve().parents[2] / "scenarios" / "baseline.yaml"
TINY = EnsembleSize(runs=2, agents=120, days=3, workers=1)


def silent(text: str) -> None:
    """Tell nobody."""


def test_the_ensemble_is_divided_by_the_mean_of_two_mesa_runs():
    asked, times = [], iter([4.0, 6.0])

    def mesa(agents, days):
        asked.append((agents, days))
        return next(times)

    figure = ensemble_figure(BASELINE, TINY, silent, mesa)
    assert asked == [(120, 3), (120, 3)]
    assert figure.detail["mesa_s"] == [4.0, 6.0]
    assert figure.value == pytest.approx(500 * figure.detail["wall_s"] / 5.0)
    assert (figure.detail["class"], figure.detail["extrapolated_from_runs"]) == ("estimated", 2)
    assert figure.detail["parquet_bytes"] > 10_000
    assert (figure.better, figure.bar) == ("lower", 15.0)


def test_all_runs_are_a_measurement(monkeypatch):
    monkeypatch.setattr(ensemble, "run_ensemble", lambda path, size, tell: {"wall_s": 30.0})
    figure = ensemble_figure(BASELINE, EnsembleSize(), silent, lambda agents, days: 5.0)
    assert (figure.value, figure.ok) == (6.0, True)
    assert figure.detail["class"] == "measured"
    assert figure.detail["extrapolated_from_runs"] is None
    assert (figure.detail["runs"], figure.detail["agents"], figure.detail["days"]) == (1000, 10_000, 1461)


def test_without_mesa_there_is_no_number_but_how_to_install_it():
    figure = ensemble_figure(BASELINE, TINY, silent, None)
    assert (figure.value, figure.ok) == (None, None)
    assert "peers" in figure.detail["install"]


def test_progress_is_told_at_tenths():
    told = []
    hear = tenths(told.append)
    for percent in (0, 4, 11, 12, 35, 36, 100):
        hear(Progress(fraction=percent / 100, elapsed_s=percent / 10))
    assert told == ["ensemble: 11%, 9 s left", "ensemble: 35%, 6 s left", "ensemble: 100%, 0 s left"]


@pytest.mark.slow
def test_the_serving_figures_keep_their_bars(monkeypatch):
    monkeypatch.setattr(serving, "SEEDS", (101, 202))
    figures = {figure.id: figure for figure in serving.serving_figures(load(BASELINE), silent)}
    assert set(figures) == {
        "surface.median_error", "surface.max_error", "simpy.twin_max_abs_diff", "predicted.throughput_error",
        "predicted.p99_error",
    }  # fmt: skip
    bars = {name: figure.bar for name, figure in figures.items()}
    assert bars.pop("surface.max_error") is None
    assert bars == {
        "surface.median_error": 0.03, "simpy.twin_max_abs_diff": 1e-9, "predicted.throughput_error": 0.05,
        "predicted.p99_error": 0.15,
    }  # fmt: skip
    assert all(figure.ok for name, figure in figures.items() if name in bars)
    assert figures["surface.median_error"].detail["overloaded"] > 0
    assert figures["surface.median_error"].detail["worst_week"]["times_median_error"] < 0.05
    assert {row["profile"] for row in figures["predicted.p99_error"].detail["runs"]} == {"cpu-tiny"}
    json.dumps([figure.as_dict() for figure in figures.values()], allow_nan=False)


@pytest.mark.slow
def test_the_same_luck_saves_runs(monkeypatch):
    monkeypatch.setattr(luck, "PAIRS", 6)
    monkeypatch.setattr(luck, "AGENTS", 200)
    monkeypatch.setattr(luck, "DAYS", 20)
    figure = luck.luck_figure(BASELINE, silent)
    assert (figure.id, figure.better, figure.bar) == ("crn.variance_ratio", "higher", 500.0)
    assert figure.value > 10.0
    assert figure.detail["pairs"] == 6


def test_mesa_is_timed_without_its_set_up():
    pytest.importorskip("mesa")
    run = peer.mesa_run()
    assert 0.0 < run(30, 3) < run(30, 300)


def test_mesa_that_is_missing_is_no_mesa(monkeypatch):
    monkeypatch.setattr(peer.mesa_agents, "MODULE", "no_such_module")
    assert peer.mesa_run() is None


@pytest.fixture
def app(monkeypatch):
    """Return the command with figures that are made up: what is measured is tested above."""
    sizes = []

    def made_up(path, size, tell, mesa):
        sizes.append(size.runs)
        return Figure(
            "ensemble1000.over_one_mesa_run", 20.0 if size.runs == 64 else 2.0, "ratio", "lower", 15.0
        )

    monkeypatch.setattr(serving, "serving_figures", lambda scenario, tell: [])
    monkeypatch.setattr(luck, "luck_figure", lambda path, tell: Figure("crn.variance_ratio", None, "ratio"))
    monkeypatch.setattr(ensemble, "ensemble_figure", made_up)
    typer = Typer()
    typer.command()(command.bench)
    return typer, sizes


def test_quick_is_never_the_default_and_a_bar_that_breaks_leaves_with_1(app):
    typer, sizes = app
    whole = CliRunner().invoke(typer, ["--json", "--scenario", str(BASELINE)])
    assert whole.exit_code == 0
    printed = json.loads(whole.stdout)
    assert printed["bench"] == "experiment"
    assert [figure["id"] for figure in printed["figures"]][-1] == "ensemble1000.over_one_mesa_run"
    quick = CliRunner().invoke(typer, ["--quick", "--scenario", str(BASELINE)])
    assert quick.exit_code == 1
    assert "NO" in quick.stdout
    assert sizes == [1000, 64]


def test_a_scenario_that_is_not_there_is_named(app):
    result = CliRunner().invoke(app[0], ["--scenario", "nowhere.yaml"])
    assert "nowhere.yaml: no such scenario" in str(result.exception)
