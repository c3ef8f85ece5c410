"""The preview: paired arms, differences, groups, verdict and the command."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner

from models.errors import InputError
from sim.commands.preview import preview as command
from sim.observables import BY_NAME
from sim.preview.arms import Arm, Size, load_pair, with_votes
from sim.preview.differences import METRICS, deltas, read_at
from sim.preview.groups import group_rows, payoffs, values
from sim.preview.markdown import render
from sim.preview.preview import last_day, preview
from sim.preview.verdict import interval, verdict

ROOT = Path(__file__).resolve().parents[2]
BASELINE = ROOT / "scenarios" / "baseline.yaml"
RUNS, DAYS = 4, 120
GWEI = 10**9

OVERLAY = """
extends: {baseline}
name: early
proposal:
  title: Early proposal
  proposer: {{class: delegates, rank: 1}}
  submit: 2025-10-01
  actions:
    - set: fees.split
      to: {split}
  votes:
    direction: {{rule: own_payoff, horizon: 30 d, noise: 0.5}}
  salience: 0.5
report:
  horizons: [30 d]
  behaviour: [respond]
"""


@pytest.fixture
def overlay(tmp_path):
    def write(split="{model: 2, stakers: 1, contributors: 6}"):
        path = tmp_path / "early.yaml"
        path.write_text(OVERLAY.format(baseline=BASELINE, split=split))
        return path

    return write


def metrics(**changed):
    base = {n: np.ones((RUNS, DAYS + 1), np.int64 if n.endswith("_gwei") else float) for n in METRICS}
    for name in (n for n in METRICS if BY_NAME[n].monthly):
        base[name] = np.full((RUNS, DAYS + 1), np.nan)
        base[name][:, 30::30] = 5.0
    return base | changed


def groups(income, holding):
    rows = [(run, day, name) for run in range(RUNS) for day in (30, 60, 90) for name in ("users", "team")]
    return {
        "run": np.array([r for r, _, _ in rows]), "day": np.array([d for _, d, _ in rows]),
        "class": np.array([c for _, _, c in rows]), "decile": np.zeros(len(rows), int),
        "agents": np.full(len(rows), 2), "holding_gwei": np.full(len(rows), holding * GWEI),
        "income_gwei": np.full(len(rows), income * GWEI),
    }  # fmt: skip


def arm(events=(), income=4, holding=10, **changed):
    columns = {
        name: [e[i] for e in events] for i, name in enumerate(("run", "day", "kind", "subject", "detail"))
    }
    return Arm(metrics(**changed), groups(income, holding), columns)


EXECUTED = np.array([40, 40, 40, 41])
EVERYBODY = np.ones(RUNS, bool)


class TestDifferences:
    def test_equal_worlds_differ_by_exactly_0(self):
        found, missing = deltas(metrics(), metrics(), EXECUTED, (30, 60), EVERYBODY)
        assert not missing
        assert len(found) == len(METRICS) * 2 * 2
        assert all(getattr(d.spread, f) == 0 for d in found for f in ("mean", "p05", "p50", "p95"))

    def test_money_differs_by_integers_beyond_floats(self):
        big = np.full((RUNS, DAYS + 1), 2**60, np.int64)
        found, _ = deltas(
            metrics(treasury_gwei=big), metrics(treasury_gwei=big + 1), EXECUTED, (30,), EVERYBODY
        )
        treasury = next(d for d in found if d.metric == "treasury_gwei")
        assert (treasury.spread.mean, treasury.unit) == (1.0, "gwei")

    def test_reads_the_day_of_each_run_and_says_what_is_worse(self):
        price = np.ones((RUNS, DAYS + 1))
        price[0, 70], price[3, 71], price[3, 70] = 0.5, 3.0, 99.0
        found, _ = deltas(metrics(), metrics(price_usd=price), EXECUTED, (30,), EVERYBODY)
        told = next(d for d in found if d.metric == "price_usd" and d.view == "if_executed")
        assert told.spread.mean == pytest.approx((-0.5 + 2.0) / 4)
        assert told.spread.p_worse == 0.25
        latency = np.full((RUNS, DAYS + 1), 2.0)
        found, _ = deltas(metrics(), metrics(latency_p95_s=latency), EXECUTED, (30,), EVERYBODY)
        assert next(d for d in found if d.metric == "latency_p95_s").spread.p_worse == 1.0
        assert next(d for d in found if d.metric == "circulating_gwei").spread.p_worse is None

    def test_expected_counts_only_runs_that_pass(self):
        price = np.full((RUNS, DAYS + 1), 3.0)
        passed = np.array([True, False, False, False])
        found, _ = deltas(metrics(), metrics(price_usd=price), EXECUTED, (30,), passed)
        told = {d.view: d.spread.mean for d in found if d.metric == "price_usd"}
        assert told == {"if_executed": 2.0, "expected": 0.5}

    def test_monthly_metrics_keep_their_last_value(self):
        monthly = np.full((2, 10), np.nan)
        monthly[0, 4] = 7.0
        assert read_at(monthly, np.array([6, 6]), monthly=True).tolist()[0] == 7.0
        assert np.isnan(read_at(monthly, np.array([3, 6]), monthly=True)).all()

    def test_horizons_beyond_the_last_day_and_empty_metrics_are_left_out(self):
        empty = np.full((RUNS, DAYS + 1), np.nan)
        found, missing = deltas(
            metrics(replicas=empty), metrics(replicas=empty), EXECUTED, (30, 80), EVERYBODY
        )
        assert {d.horizon_days for d in found} == {30}
        assert missing == ["replicas at 30 d"]

    def test_json_has_the_published_fields(self):
        found, _ = deltas(metrics(), metrics(), EXECUTED, (30,), EVERYBODY)
        assert list(found[0].as_json()) == [
            "metric", "horizon_days", "unit", "view", "mean", "p05", "p50", "p95", "p_worse",
        ]  # fmt: skip


class TestGroups:
    def test_income_since_the_execution_and_the_last_holding(self):
        told = values(arm(), EXECUTED, 60)["users", 0]
        # months end on days 60 and 90: two payments of 4 OPEN and 10 OPEN held, 2 agents, 1 USD
        assert told.income_usd.tolist() == [4.0] * RUNS
        assert told.holding_usd.tolist() == [5.0] * RUNS

    def test_a_horizon_before_the_months_end_has_no_groups(self):
        assert values(arm(), EXECUTED, 10) == {}

    def test_payoffs_are_percent_of_the_baseline(self):
        assert payoffs(arm(), arm(income=5), EXECUTED, 60) == pytest.approx(
            {"team": 100 / 9, "users": 100 / 9}
        )

    def test_rows_say_winners(self):
        rows = group_rows(arm(), arm(holding=8), EXECUTED, (60,))
        assert [(row["class"], row["mean"], row["p_worse"]) for row in rows] == [
            ("team", -1.0, 1.0), ("users", -1.0, 1.0),
        ]  # fmt: skip
        assert rows[0]["holding_change"] == -1.0
        assert rows[0]["income_change"] == 0.0


class TestVerdict:
    def test_no_change_is_said(self):
        found, _ = deltas(metrics(), metrics(), EXECUTED, (30,), EVERYBODY)
        assert verdict(found, EVERYBODY, EVERYBODY) == (
            "Passes with probability 100% (90 % interval 60% to 100%, 4 runs); reaches the quorum with 100%. "
            "If executed it changes nothing: every difference is exactly 0."
        )

    def test_clear_changes_are_named_with_their_band(self):
        price = np.full((RUNS, DAYS + 1), 3.0)
        found, _ = deltas(metrics(), metrics(price_usd=price), EXECUTED, (30,), EVERYBODY)
        told = verdict(found, ~EVERYBODY, EVERYBODY)
        assert "Passes with probability 0%" in told
        assert BY_NAME["price_usd"].label + " +2 USD (+2 to +2, better)" in told

    def test_interval_holds_the_share(self):
        for k in range(11):
            low, high = interval(k, 10)
            assert 0 <= low <= k / 10 <= high <= 1


class TestPreview:
    def live(self, seen, passing=(0, 2)):
        def answer(scenario, size):
            votes, actions = scenario.proposal.votes, scenario.proposal.actions
            seen.append((votes.force, len(actions), dict(votes.payoffs), size.days))
            title = scenario.proposal.title
            if votes.force == "pass":
                events = [(run, 38, "executed", title, "{}") for run in range(size.runs)]
                return arm(events, income=5 if actions else 4)
            events = [(run, 31, "queued", title, "{}") for run in passing]
            lost = json.dumps({"quorum_reached": 1})
            events += [(1, 31, "defeated", title, lost), (3, 31, "refused", title, "{}")]
            return arm(events)

        return answer

    def test_three_arms_with_the_same_lifecycle(self, overlay):
        seen = []
        _, scenario = load_pair(BASELINE, overlay())
        result = preview(scenario, Size(RUNS, None, DAYS, 1), self.live(seen))
        assert [entry[:2] for entry in seen] == [("pass", 0), ("pass", 1), ("none", 1)]
        assert seen[2][2] == result.payoffs
        assert result.payoffs["team"] > 0
        assert seen[2][3] == 32
        data = result.as_json()
        assert (data["pass_probability"], data["quorum_probability"]) == (0.5, 0.75)
        assert data["executed"] == "2025-10-16"
        assert json.loads(json.dumps(data, allow_nan=False)) == data

    def test_the_page_holds_every_part(self, overlay):
        _, scenario = load_pair(BASELINE, overlay())
        result = preview(scenario, Size(RUNS, None, DAYS, 1), self.live([]))
        page = render(result)
        for part in (
            "## Differences",
            "## Winners and losers",
            "## Chain",
            "fees.split.stakers 2 -> 1 (-50.0 %)",
        ):
            assert part in page
        assert result.verdict in page

    def test_the_chain_sets_the_values_and_refuses_what_it_must(self, overlay):
        pytest.importorskip("eth")
        _, scenario = load_pair(BASELINE, overlay())
        chain = preview(scenario, Size(RUNS, None, DAYS, 1), self.live([])).chain
        assert [c["status"] for c in chain["checks"]] == ["passed"] * len(chain["checks"])
        assert chain["state_changes"][0]["old"] == [2, 2, 5]
        assert chain["state_changes"][0]["new"] == [2, 1, 6]
        assert [t["step"] for t in chain["transactions"]] == [
            "wrap", "delegate", "propose", "vote", "queue", "execute",
        ]  # fmt: skip
        times = {t["step"]: t["timestamp"] for t in chain["transactions"]}
        assert times["execute"] - times["propose"] == 15 * 86_400 + 1

    def test_forcing_does_not_touch_the_rest(self, overlay):
        _, scenario = load_pair(BASELINE, overlay())
        changed = with_votes(scenario, empty=True, force="pass")
        assert changed.proposal.actions == ()
        assert scenario.proposal.votes.force == "none"
        assert changed.proposal.submit == date(2025, 10, 1)

    def test_last_day_is_the_longest_horizon_after_the_execution(self, overlay):
        _, scenario = load_pair(BASELINE, overlay())
        assert last_day(scenario) == 23 + 15 + 30
        assert last_day(scenario, 50) == 50
        with pytest.raises(InputError, match="executed on day 38"):
            last_day(scenario, 38)


class TestPairs:
    def test_a_second_file_without_a_proposal_is_refused(self):
        with pytest.raises(InputError, match="proposal: is missing"):
            load_pair(BASELINE, BASELINE)

    def test_a_baseline_with_a_proposal_is_refused(self, overlay):
        with pytest.raises(InputError, match="holds one already"):
            load_pair(overlay(), overlay())

    def test_a_proposal_for_another_world_is_refused(self, overlay, tmp_path):
        other = tmp_path / "other.yaml"
        other.write_text(f"extends: {BASELINE}\nname: other\n")
        with pytest.raises(InputError, match="it extends"):
            load_pair(other, overlay())


def application():
    app = Typer()
    app.command()(command)
    return app


def test_the_command_refuses_bad_input():
    result = CliRunner().invoke(application(), [str(BASELINE), str(BASELINE), "--json"])
    assert isinstance(result.exception, InputError)


@pytest.mark.slow
def test_no_change_differs_by_exactly_0_in_real_runs(overlay, tmp_path):
    path = overlay("{model: 2, stakers: 2, contributors: 5}")
    arguments = [str(BASELINE), str(path), "--runs", "2", "--agents", "60", "--workers", "1", "--json"]
    result = CliRunner().invoke(
        application(), [*arguments, "--out", str(tmp_path / "out")], catch_exceptions=False
    )
    data = json.loads(result.stdout)
    assert data["deltas"]
    assert data["groups"]
    assert all(d[f] == 0 for d in data["deltas"] for f in ("mean", "p05", "p50", "p95"))
    assert all(row["mean"] == 0 for row in data["groups"])
    assert json.loads((tmp_path / "out" / "preview.json").read_text()) == data
