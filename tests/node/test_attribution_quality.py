"""Quality of attribution on the committed truth: bars, regression against stored values, the bench's document."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")

import typer
from typer.testing import CliRunner

from reference_node.attribution.bench import run
from reference_node.attribution.bench.quality import TIER1, TIER2
from reference_node.attribution.bench.run import attribution_document, measure_quality, open_rig
from reference_node.attribution.configuration import Configuration
from reference_node.attribution.fixtures.answers import ANSWER_SEED
from reference_node.attribution.fixtures.store import data_folder
from reference_node.attribution.fixtures.world import load_world
from reference_node.attribution.tier1 import SEED
from reference_node.bench.figure import bench_figure
from reference_node.commands.bench_attribution import bench, text_of

pytestmark = pytest.mark.node

IDS = [
    "f1.tier2.lds_over_ceiling",
    "f1.tier2.tv",
    "f1.tier2.shapley_rho",
    "f1.tier2.top1",
    "f1.tier2.noise_share",
    "f1.tier1.tv",
    "f2.tier1_over_spans_se",
]
PUBLISHED = ("poa_small", "poa_llm")


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """All quality figures, from committed truth and outputs; gradients are computed here."""
    found = measure_quality(tmp_path_factory.mktemp("work"), lambda _: None)
    return {one["id"]: one for one in found}


def test_every_figure_is_on_the_right_side_of_its_bar(figures):
    assert list(figures) == IDS
    assert {name: one["ok"] for name, one in figures.items()} == dict.fromkeys(IDS, True)
    assert all(one["detail"]["k"] == figures[IDS[0]]["detail"]["k"] for one in figures.values())


def test_tier_1_mispays_less_than_both_published_formulas(figures):
    for table in (
        figures["f1.tier2.tv"]["detail"]["table"],
        figures["f2.tier1_over_spans_se"]["detail"]["table"],
    ):
        assert all(table[TIER1]["tv"][0] < table[name]["tv"][0] for name in PUBLISHED)
        assert table[TIER2]["tv"][0] <= table[TIER1]["tv"][0]
    assert figures["f1.tier2.tv"]["detail"]["table"]["poa_small"]["tv"][0] > 0.4


def test_no_method_falls_behind_what_was_stored_by_three_standard_errors(figures):
    stored = json.loads((data_folder() / "quality.json").read_text())
    detail = figures["f1.tier2.tv"]["detail"]
    now = {"f1": detail["table"], "f2": figures["f2.tier1_over_spans_se"]["detail"]["table"]}
    for fixture, table in now.items():
        for method, row in stored[fixture].items():
            for measure, sign in (("lds", 1), ("rho", 1), ("tv", -1)):
                (value, error), (before, error_before) = table[method][measure], row[measure]
                slack = 3 * max(error, error_before)
                assert sign * (value - before) >= -slack, f"{fixture} {method} {measure}"


def test_sampling_changes_an_epochs_money_little(figures):
    sampled = figures["f1.tier2.tv"]["detail"]["sampled"]
    assert sampled["tv_of_sampling"] < 0.05
    assert sampled["tv_sampled"] < sampled["tv_full"] + 0.05


def test_committed_outputs_belong_to_the_configuration(tmp_path, monkeypatch):
    """Training is what a missing match would cost: here it fails instead."""

    def never(*_):
        raise AssertionError("the committed outputs do not match; make them with attribution.bench.outputs")

    monkeypatch.setattr("reference_node.attribution.coalition_bank.train_adapters", never)
    for name, clustered in run.GAMES:
        with open_rig(name, tmp_path, clustered=clustered) as rig:
            assert rig.bank.outputs(rig.queries).shape == (58, rig.configuration.bank.states)


def test_nothing_that_is_judged_knows_a_seed_of_the_truth():
    used = Configuration()
    seeds = {SEED, used.planted_seed, *range(used.bank.seed, used.bank.seed + used.bank.states)}
    assert not seeds & {*load_world("f1").truth.facts["seeds"], ANSWER_SEED}


def test_a_figure_says_whether_it_is_met():
    assert bench_figure("a", 0.2, "share", "lower", 0.2, {})["ok"] is True
    assert bench_figure("a", 0.1, "ratio", "higher", 0.2, {})["ok"] is False
    assert bench_figure("a", None, "ratio", "higher", 0.2, {})["ok"] is None
    with pytest.raises(ValueError, match="better is 'up'; allowed higher, lower"):
        bench_figure("a", 1, "ratio", "up", None, {})


def test_the_command_prints_tables_or_one_object(figures, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "measure_quality", lambda *_, **__: list(figures.values()))
    monkeypatch.setattr(run, "measure_costs", lambda *_: [])
    monkeypatch.setattr(run, "overhead_figures", lambda *_: [])
    document = attribution_document(tmp_path, lambda _: None)
    assert {"bench", "machine", "code_version", "figures"} == document.keys()
    text = text_of(document)
    assert "f1.tier2.tv" in text
    assert "fixture two, clusters" in text
    app = typer.Typer()
    app.command()(bench)
    done = CliRunner().invoke(app, ["--json", "--work", str(tmp_path)])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["figures"][1]["id"] == "f1.tier2.tv"
    bad = [figures[IDS[0]] | {"ok": False}]
    monkeypatch.setattr(run, "measure_quality", lambda *_, **__: bad)
    assert CliRunner().invoke(app, ["--json", "--work", str(tmp_path)]).exit_code == 1
