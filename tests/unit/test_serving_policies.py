"""Serving policies in the economy: paired arms, figures by hand, the promise of `dedicated`, fleets of two kinds."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner

from models.errors import InputError
from models.operators import pay_weights
from models.serving import profile_sha256
from sim.begin import begin_world
from sim.clock import advance_day
from sim.commands.serving import serving as command
from sim.engine import build_economy, run_batch
from sim.observables import BY_NAME
from sim.policies.compare import compare, read_policies, with_policy
from sim.policies.report import Facts, as_json, blocks, verdict, warnings
from sim.preview.arms import Arm, Size
from sim.report import html, markdown
from sim.report.text import DASH
from sim.scenario import load
from sim.serving import DedicatedFleet, FleetModel
from sim.states.usage_traits import operator_kinds

ROOT = Path(__file__).resolve().parents[2]
BASELINE = ROOT / "scenarios" / "baseline.yaml"
PROFILE = ROOT / "reference_node" / "profiles" / "cpu.json"
EARLY = ("fees.input=0.10 USD/1M tokens", "fees.output=0.40 USD/1M tokens", "demand.adoption.bass.p=0.02/day")
"""The service is sold from the first day."""
RUNS, DAYS = 3, 40


def metrics(scale: float) -> dict[str, np.ndarray]:
    """Return observables of an arm: constant over the days, growing with the run."""
    run = np.arange(1.0, RUNS + 1)[:, None] * np.ones((RUNS, DAYS + 1))
    values = dict.fromkeys(BY_NAME, run * scale)
    values["refused_share"] = run * 0.01 * scale
    values["tokens_served"] = values["tokens_demanded"] = run * 1e6
    return values


@pytest.fixture
def found():
    scales = {"lru": 1.0, "unload_always": 2.0, "dedicated": 100.0}

    def live(scenario, size):
        return Arm(metrics(scales[scenario.serving.cache.policy]), {}, {})

    return compare(load(BASELINE), tuple(scales), Size(RUNS, None, DAYS, 1), live)


def test_figures_are_what_the_days_say(found):
    assert found.outcome("lru", "latency_p99").values.tolist() == [1.0, 2.0, 3.0]
    assert found.outcome("lru", "refused").values == pytest.approx([0.01, 0.02, 0.03])
    assert found.outcome("lru", "profit").at.p50 == 2.0
    # machines x 24 hours x 0.40 USD over tokens: 1 machine and 1M tokens in the first run, 2 and 2M in the second
    assert found.outcome("lru", "cost_needed").values == pytest.approx([9.6, 9.6, 9.6])
    assert found.outcome("dedicated", "cost_needed").values == pytest.approx([960.0] * 3)
    assert found.saving == pytest.approx([0.99] * 3)
    assert found.sharing == pytest.approx([100.0] * 3)


def test_differences_are_taken_run_by_run(found):
    apart = found.outcome("unload_always", "latency_p50").difference
    assert (apart.p05, apart.p50, apart.p95) == pytest.approx((1.1, 2.0, 2.9))
    assert found.outcome("lru", "latency_p50").difference is None


def test_days_without_demand_have_no_cost_per_token():
    def live(scenario, size):
        values = metrics(1.0)
        values["tokens_served"] = values["tokens_demanded"] = np.zeros((RUNS, DAYS + 1))
        return Arm(values, {}, {})

    nothing = compare(load(BASELINE), ("lru", "dedicated"), Size(RUNS, None, DAYS, 1), live)
    assert not nothing.outcome("lru", "cost_needed").at.known
    assert not nothing.outcome("lru", "latency_p50").at.known
    assert "nothing can be said of what sharing saves" in verdict(nothing)
    data = json.dumps(as_json(nothing, Facts.of(nothing), "x"), allow_nan=False)
    assert json.loads(data)["saving_over_dedicated"]["p50"] is None


def test_both_documents_hold_every_figure_and_load_nothing(found):
    facts = Facts.of(found)
    parts = blocks(found, facts, "olsim serving x.yaml")
    page, text = html.render("T", parts), markdown.render("T", parts)
    for word in (
        "time to first token, median, s",
        "request latency, 99th percentile, s",
        "machines needed for all demand",
        "99.0",
        "olsim serving x.yaml",
    ):
        assert word in page
        assert word in text
    assert page.count("<svg") == 3
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert page == html.render("T", blocks(found, facts, "olsim serving x.yaml")), "the same bytes every time"
    assert any("5.05 M parameters" in warning for warning in warnings(found, facts))


def test_the_error_of_the_surface_stands_beside_every_figure_read_from_it(found):
    facts = Facts.of(found)
    assert facts.off(("fee_usd_per_1m",)) == DASH
    data = as_json(found, facts, "x")
    by_key = {figure["key"]: figure for figure in data["policies"][0]["figures"]}
    assert 0.0 < by_key["latency_p99"]["surface_error"]["median"] < 0.05
    assert by_key["latency_p99"]["surface_error"]["max"] >= by_key["latency_p99"]["surface_error"]["median"]
    assert by_key["fee"]["surface_error"] is None
    text = markdown.render("T", blocks(found, facts, "x"))
    assert "surface error" in text
    assert facts.off(("latency_p99_s",)) in text


def test_a_policy_changes_nothing_else_in_the_scenario():
    base = load(BASELINE)
    assert with_policy(base, "lru") == base
    other = with_policy(base, "dedicated").resolved()
    assert other["serving"]["cache"].pop("policy") == "dedicated"
    plain = base.resolved()
    del plain["serving"]["cache"]["policy"]
    assert other == plain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lru,residnet", "'residnet' is unknown; did you mean 'resident'?; allowed lru, unload_always"),
        ("mru,fifo", "'fifo' is unknown"),
        (" , ", "--policies is empty"),
    ],
)
def test_unknown_policies_are_refused_by_name(text, message):
    with pytest.raises(InputError) as caught:
        read_policies(text)
    assert message in str(caught.value)


def test_pay_goes_by_what_one_machine_of_a_kind_served():
    served, replicas = np.array([[300.0, 50.0], [0.0, 0.0]]), np.array([[3, 2], [1, 1]])
    assert pay_weights(served, replicas).tolist() == [[2**20, 2**18], [1, 1]]
    assert pay_weights(np.array([[7.0]]), np.array([[0]])).tolist() == [[1]]


def economy(*settings: str, file: Path = BASELINE, agents: int = 120, days: int = DAYS):
    return build_economy(load(file, [f"days={days}", *EARLY, *settings]), agents=agents)


@pytest.mark.slow
def test_dedicated_hosts_every_model_on_offer_whether_or_not_it_pays():
    built = economy("serving.cache.policy=dedicated")
    assert isinstance(built.fleet, DedicatedFleet)
    found = run_batch(built, np.arange(3)).metrics
    offered = 1200 * 0.7
    assert (found["replicas"][:, 1:] >= offered * 0.95).all()
    assert np.array_equal(found["replicas"], found["replicas_needed"])
    assert (found["refused_share"][:, 20:] < 1e-9).all()
    assert (found["cache_hit_rate"] == 1.0).all()
    cost = found["replicas"] * 24 * 0.4  # each operator's own factor is within 20 %
    assert (found["operator_profit_usd"][:, 1:] < -0.75 * cost[:, 1:]).all()
    assert (found["serving_cost_usd_per_1m"][:, -1] > 5 * found["fee_usd_per_1m"][:, -1]).all()


def two_kinds(folder: Path, *, routing: str = "capacity", price: str = "4.00") -> Path:
    """Write a scenario with the CPU profile and a synthetic one that takes a quarter of the time."""
    document = json.loads(PROFILE.read_text(encoding="utf-8"))
    for name in "abcd":
        document["fit"][name] /= 4
    document["fit"]["regroup_ms"] /= 4
    for row in document["prefill"]:
        row["tok_s"] *= 4
    for row in [*document["decode"], *document["mixed"]]:
        row["step_ms_p50"] /= 4
    document["id"], document["provenance"]["measured"] = "synthetic-fast", False
    document["provenance"]["sha256"] = profile_sha256(document)
    (folder / "fast.json").write_text(json.dumps(document), encoding="utf-8")
    path = folder / "two.yaml"
    path.write_text(
        f"extends: {BASELINE}\nname: two\nserving:\n  routing: {routing}\n  fleet:\n"
        f"    - {{profile: {PROFILE}, count: 6, price: 0.40 USD/hour}}\n"
        f"    - {{profile: fast.json, count: 2, price: {price} USD/hour}}\n",
        encoding="utf-8",
    )
    return path


@pytest.mark.slow
def test_operators_of_each_kind_have_their_own_pay_and_cost(tmp_path):
    built = economy("agents.operators.cost_spread=0 %", file=two_kinds(tmp_path), agents=1300, days=20)
    assert isinstance(built.fleet, FleetModel)
    world = begin_world(built, np.arange(2))
    usage = world.usage
    assert np.bincount(usage.machine).tolist() == [4, 2]
    assert (usage.replicas_by_kind == [6, 2]).all()
    for day in range(10):
        before = world.agent_balance("wallet.l2", "operators").copy()
        advance_day(world, built, day)
        if day < 6:  # before the first costs are covered, wallets hold the pay alone
            paid = world.agent_balance("wallet.l2", "operators") - before
    assert usage.serving_cost_usd == pytest.approx(usage.replicas_by_kind @ np.array([9.6, 96.0]))
    rows = usage.revenue_ring[:, :, 5]
    assert (rows > 0).all()
    assert rows[:, 1] / rows[:, 0] == pytest.approx([4.0, 4.0], rel=0.03)
    assert (paid >= 0).all()


@pytest.mark.slow
def test_machines_too_dear_for_their_work_leave_and_cheap_ones_stay(tmp_path):
    dear = two_kinds(tmp_path, routing="cheapest", price="40.00")
    built = economy("serving.enter_leave.after=5 d", file=dear, agents=1300, days=50)
    world = begin_world(built, np.arange(2))
    assert (world.usage.replicas_by_kind == [6, 2]).all()
    for day in range(51):
        advance_day(world, built, day)
    kinds = world.usage.replicas_by_kind
    assert (kinds[:, 1] == 0).all()
    assert (kinds[:, 0] >= 1).all()


def test_more_kinds_than_operators_are_refused(tmp_path):
    scenario = load(two_kinds(tmp_path))
    with mock.patch("sim.engine.fleet_of", return_value=None):
        built = build_economy(scenario, agents=9)
    with pytest.raises(InputError, match="2 kinds of machine need as many operators; 1 are simulated"):
        operator_kinds(built)


@pytest.mark.slow
def test_command_compares_with_the_same_luck(tmp_path):
    app = Typer()
    app.command()(command)
    sets = [text for setting in EARLY for text in ("--set", setting)]
    arguments = [str(two_kinds(tmp_path)), "--runs", "2", "--agents", "120", "--days", "40", "--workers", "1"]
    result = CliRunner().invoke(
        app, [*arguments, "--policies", "lru,dedicated", "--out", str(tmp_path / "out"), "--json", *sets]
    )
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert [policy["policy"] for policy in data["policies"]] == ["lru", "dedicated"]
    assert [machine["measured"] for machine in data["machines"]] == [True, False]
    assert any("was not measured" in warning for warning in data["warnings"])
    by_key = {f["key"]: f for f in data["policies"][1]["figures"]}
    assert by_key["needed"]["p50"] > 800
    assert by_key["needed"]["difference"]["p50"] > 700
    assert by_key["profit"]["p95"] < 0
    assert 0.9 < data["saving_over_dedicated"]["p50"] < 1.0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "serving.html", "serving.json", "serving.md",
    ]  # fmt: skip
    assert json.loads((tmp_path / "out" / "serving.json").read_text()) == data


def test_command_refuses_bad_input_before_it_writes(tmp_path):
    app = Typer()
    app.command()(command)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file; expected a folder"):
        CliRunner().invoke(app, [str(BASELINE), "--out", str(tmp_path / "file")], catch_exceptions=False)
