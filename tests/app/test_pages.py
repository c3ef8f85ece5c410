"""Every page over a small run directory: titles, traces, numbers; and without a run: advice, no traceback."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from opening import PAGES, ROOT, open_page
from streamlit.testing.v1 import AppTest

from sim.dashboard import launch
from sim.results.manifest import Manifest

TITLES = {
    "": "Overview", "supply": "Supply and unlocks", "fees": "Fees and payouts", "governance": "Governance",
    "node": "Node", "runs": "Runs", "attribution": "Attribution",
}  # fmt: skip
PLOTS = {
    "": ["Price"],
    "supply": [
        "Unlocked supply by bucket", "Three supplies", "Unlocked, emitted and sold", "Unlocks against the float",
        "Price", "Price with one mechanism switched off, same luck",
    ],
    "fees": [
        "Inference and access fees", "Usage cover", "Fee demand against unlock supply", "Who a fee goes to",
        "Treasury, pools and staking pot", "Contributor's income", "Contributors above break-even", "Concentration",
        "Holdings by baseline decile of holders", "Paid to each class", "Deciles of holders by their holding on day 0",
        "Who paid whom, OPEN in the month to 2025-12-08",
    ],
    "governance": [
        "Turnout of the last vote", "Votes that reached quorum and passed", "Turnout of the last vote over runs",
        "Votes cast by small holders and contributors", "Cost of capturing a vote", "GOPEN", "Votes of run 0",
    ],
    "node": [
        "Decode speed, rank 16, context 256", "Fit of the step time", "Measured serving runs", "Serving fleet",
        "Latency of requests", "Cost and fee of a million tokens", "Operators' margin over cost",
        "Tokens demanded and served",
    ],
    "runs": [],
    "attribution": [],
}  # fmt: skip
PROFILE_PLOTS = 3


def plots(app: AppTest) -> dict[str, dict[str, Any]]:
    """Return the figures of a page by title, without the tags around it."""
    figures = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
    return {figure["layout"]["title"]["text"][3:-4]: figure for figure in figures}


def names(figure: dict[str, Any]) -> list[str]:
    return [trace["name"] for trace in figure["data"] if trace.get("showlegend", True)]


def metrics(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def words(app: AppTest) -> str:
    parts = (app.markdown, app.caption, app.info, app.warning, app.error, app.success, app.code)
    return "\n".join(str(element.value) for kind in parts for element in kind)


@pytest.mark.parametrize("page", PAGES)
def test_each_page_says_what_it_is_and_shows_its_figures(page: str, folder: Path) -> None:
    app = open_page(page)
    assert not app.exception
    assert not app.error
    assert [title.value for title in app.title] == [TITLES[page]]
    shown = plots(app)
    assert len(shown) == len(PLOTS[page])
    for expected, title in zip(PLOTS[page], shown, strict=True):
        assert title.startswith(expected)


@pytest.mark.parametrize("page", ["", "supply", "fees", "governance", "node"])
def test_every_axis_has_a_unit_and_every_figure_its_runs(page: str, folder: Path) -> None:
    for title, figure in plots(open_page(page)).items():
        layout = figure["layout"]
        said = layout["title"]["subtitle"]["text"]
        assert any(
            part in said for part in ("6 runs", "2 runs", "exact calendar", "profile", "witness run")
        ), title
        if figure["data"][0]["type"] != "sankey":
            assert layout["xaxis"]["title"]["text"], title
            assert layout["yaxis"]["title"]["text"], title


@pytest.mark.parametrize("page", PAGES)
def test_without_a_run_a_page_says_how_to_make_one(page: str, nothing: Path) -> None:
    app = open_page(page)
    assert not app.exception
    assert not app.error
    said = words(app)
    assert "There is no" in said
    if page not in ("runs", "attribution"):
        assert "olsim run scenarios/baseline.yaml --runs 4" in said
    assert len(plots(app)) == (PROFILE_PLOTS if page == "node" else 0)


def test_overview_shows_the_headline_the_proof_and_the_warnings(folder: Path) -> None:
    app = open_page("")
    shown = metrics(app)
    assert shown["Conservation residual"] == "0 gwei"
    assert shown["Ledger against chain"] == "0 wei"
    assert shown["Reconciled epochs"] == "3"
    assert shown["Illustrative inputs"] == "50.0 %"
    assert shown["Usage cover"] == "0.272"  # 0.25 x 1.025 (median of six runs) x 1.061 on day 61
    table = app.table[0].value
    classes = dict(zip(table["number"], table["weakest input"], strict=True))
    assert classes["next month's unlock"] == "documented"
    assert classes["price"] == "illustrative"
    assert set(table["row"]) == set("12345678")
    said = words(app)
    assert "The fees price a model like 8B dense" in said
    assert "6 runs are too few" in said


def test_null_columns_are_listed_with_their_reason(folder: Path) -> None:
    frames = [frame.value for frame in open_page("").dataframe]
    missing = next(frame for frame in frames if "why it is null" in frame.columns)
    assert list(missing["column"]) == ["attribution_overhead"]
    assert "not measured yet" in missing["why it is null"].iloc[0]


def test_date_of_the_headline_can_be_chosen(folder: Path) -> None:
    app = open_page("")
    slider = app.select_slider(key="as-of")
    assert str(slider.value) == "2025-11-08"
    slider.set_value(
        slider.options[0] if not hasattr(slider.value, "replace") else slider.value.replace(month=10)
    ).run()
    assert not app.exception
    assert "on 2025-10-08 and on the last day" in words(app)


def test_unlock_areas_stand_on_zero_in_the_colours_of_their_buckets(folder: Path) -> None:
    figure = plots(open_page("supply"))["Unlocked supply by bucket"]
    assert names(figure) == ["community", "ecosystem", "liquidity", "investors", "team"]
    assert {trace["stackgroup"] for trace in figure["data"]} == {"buckets"}
    assert figure["layout"]["yaxis"]["rangemode"] == "tozero"
    assert figure["data"][0]["fillcolor"].startswith("rgba(42, 111, 151")
    assert [note["text"] for note in figure["layout"]["annotations"]] == ["investors, team begin 2025-11-17"]


def test_single_runs_are_drawn_on_demand(folder: Path) -> None:
    app = open_page("supply")
    before = len(plots(app)["Price"]["data"])
    app.toggle(key="price-paths").set_value(True).run()
    assert len(plots(app)["Price"]["data"]) == before + 6


def test_a_calendar_needs_no_run(nothing: Path) -> None:
    app = open_page("supply")
    app.segmented_control(key="supply-source").set_value("a scenario or token file").run()
    assert not app.exception
    assert metrics(app) == {"Unlocked, OPEN": "216 M", "Locked, OPEN": "784 M", "Cap, OPEN": "1.00 B"}
    assert "**9.41 M OPEN** on **2025-10-08**, 30 days later" in words(app)
    table = app.dataframe[0].value
    assert list(table.columns)[:3] == ["month", "until", "community, OPEN"]
    assert table["unlocked in all, OPEN"].iloc[-1] == "1,000,000,000.00"
    figure = plots(app)["Unlocked supply by bucket"]
    assert sum(trace["y"][-1] for trace in figure["data"] if trace.get("stackgroup")) == pytest.approx(1000)


def test_a_broken_calendar_file_is_shown_in_its_own_words(nothing: Path) -> None:
    app = open_page("supply", **{"calendar-file": "tests/bad_scenarios/allocations_missing.yaml"})
    app.segmented_control(key="supply-source").set_value("a scenario or token file").run()
    assert not app.exception
    assert "allocations_missing.yaml:" in app.error[0].value
    assert "missing" in app.error[0].value


def test_the_witness_runs_money_balances_to_zero(folder: Path) -> None:
    app = open_page("fees")
    assert metrics(app)["Imbalance"] == "0 gwei"
    sankey = next(figure for title, figure in plots(app).items() if title.startswith("Who paid whom"))
    link, labels = sankey["data"][0]["link"], sankey["data"][0]["node"]["label"]
    paid, got = {}, {}
    for source, target, value in zip(link["source"], link["target"], link["value"], strict=True):
        paid[labels[source]] = paid.get(labels[source], 0) + value
        got[labels[target]] = got.get(labels[target], 0) + value
    assert sum(paid.values()) == pytest.approx(sum(got.values()))
    assert paid["vesting (locked)"] == 24_000_000
    assert got["wallets: holders"] == 9_000_000


def test_a_gwei_that_is_lost_shows(folder: Path) -> None:
    directory = folder / "small"
    flows = pl.read_parquet(directory / "flows.parquet")
    wrong = flows.with_columns(
        pl.when((pl.col("flow") == "C1") & (pl.col("day") == 91)).then(pl.col("amount_gwei") - 1)
        .otherwise(pl.col("amount_gwei")).alias("amount_gwei")
    )  # fmt: skip
    rewrite(directory, "flows", wrong)
    assert metrics(open_page("fees"))["Imbalance"] == "2 gwei"  # the payer's and the payee's account


def rewrite(directory: Path, table: str, frame: pl.DataFrame) -> None:
    """Replace a table and its hash."""
    from sim.results.code import file_sha256

    frame.write_parquet(directory / f"{table}.parquet")
    manifest = Manifest.read(directory)
    hashes = manifest.files | {f"{table}.parquet": file_sha256(directory / f"{table}.parquet")}
    manifest.model_copy(update={"files": hashes}).write(directory)


def test_governance_counts_runs_that_reached_quorum(folder: Path) -> None:
    app = open_page("governance")
    shown = metrics(app)
    assert shown["Quorum, last vote"] == "100 %"
    assert shown["Quorum reached"] == "86.1 %"  # 0.75 x 1.025 x 1.12
    events = next(frame.value for frame in app.dataframe if "what happened" in frame.value.columns)
    assert list(events["what happened"]) == [
        "submitted", "votes were cast", "passed and queued", "executed", "in force from this day",
    ]  # fmt: skip
    assert "for 4.00 M GOPEN" in events["details"].iloc[1]
    app.selectbox(key="vote-run").set_value(1).run()
    events = next(frame.value for frame in app.dataframe if "what happened" in frame.value.columns)
    assert list(events["what happened"]) == ["submitted", "votes were cast", "defeated"]
    assert names(plots(app)["Votes of run 1"]) == ["for", "against", "abstain"]


def test_node_shows_the_committed_measurement(folder: Path) -> None:
    app = open_page("node")
    decode = next(figure for title, figure in plots(app).items() if title.startswith("Decode"))
    assert names(decode) == ["no adapter", "one adapter", "each its own"]
    provenance = next(table.value for table in app.table if "as recorded" in table.value.columns)
    recorded = dict(zip(provenance["what"], provenance["as recorded"], strict=True))
    assert recorded["measured"].startswith("yes, 20")
    assert recorded["command"].startswith("python -m reference_node.bench")
    assert metrics(app)["Utilisation"] == "68.9 %"  # 0.6 x 1.025 x 1.12
    app.segmented_control(key="context").set_value(32).run()
    assert any(title == "Decode speed, rank 16, context 32" for title in plots(app))


def test_a_changed_profile_is_told(folder: Path) -> None:
    directory = folder / "small"
    manifest = Manifest.read(directory)
    assert manifest.profile is not None
    other = manifest.profile.model_copy(update={"sha256": "0" * 64})
    manifest.model_copy(update={"profile": other}).write(directory)
    assert "has changed since the run" in words(open_page("node"))


def test_a_damaged_run_is_an_error_in_words(folder: Path) -> None:
    (folder / "small" / "metrics.parquet").write_bytes(b"no parquet")
    app = open_page("")
    assert not app.exception
    assert "not a readable table" in app.error[0].value


def test_an_address_chooses_the_run(folder: Path) -> None:
    other = shutil.copytree(folder / "small", folder / "small-other")
    Manifest.read(other).model_copy(update={"name": "the other"}).write(other)
    assert "**small**" in words(open_page("", run="small"))
    assert "**the other**" in words(open_page("", run="small-other"))
    lost = open_page("", run="gone")
    assert not lost.exception
    assert lost.query_params["run"] == "small-other"  # the newest, by its manifest


def test_runs_lists_directories_with_their_state(folder: Path) -> None:
    failed = folder / "broken"
    failed.mkdir()
    Manifest.read(folder / "small").model_copy(
        update={"status": "failed", "failure": "identity 1 broken"}
    ).write(failed)
    (folder / "strange").mkdir()
    (folder / "strange" / "manifest.json").write_text('{"schema": 99}', encoding="utf-8")
    app = open_page("runs")
    rows = app.dataframe[0].value.set_index("run")
    assert rows["status"].to_dict() == {"small": "complete", "broken": "failed", "strange": "unreadable"}
    assert rows.loc["small", "checks"] == "residual 0 gwei, chain 0 wei"
    said = words(app)
    assert "identity 1 broken" in said
    assert "layout version 99" in said
    assert [button.label for button in app.get("download_button")] == ["Save report.html", "Save report.md"]


def test_mistakes_of_a_scenario_are_shown_and_nothing_is_started(
    nothing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "scenarios", tmp_path / "scenarios")
    shutil.copytree(ROOT / "reference_node" / "profiles", tmp_path / "reference_node" / "profiles")
    text = (ROOT / "tests" / "bad_scenarios" / "five_mistakes.yaml").read_text(encoding="utf-8")
    bad = tmp_path / "scenarios" / "five_mistakes.yaml"
    bad.write_text(text.replace("../../scenarios/", ""), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    app = open_page("runs")
    app.selectbox(key="new-scenario").set_value("scenarios/five_mistakes.yaml")
    app.button[0].click().run()
    assert not app.exception
    said = app.error[0].value
    assert said.count("five_mistakes.yaml:") == 5
    assert "five_mistakes.yaml:9:12: token.buckets.team.durations: unknown key" in said
    assert not nothing.exists()


def test_a_started_run_shows_its_progress_and_can_be_stopped(
    nothing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "PROGRAM", (sys.executable, "-c", "import time; time.sleep(60)"))
    app = open_page("runs")
    app.text_input(key="new-name").set_value("mine")
    app.button[0].click().run()
    assert not app.exception
    (nothing / "mine").mkdir()
    lines = [
        {"total": 10, "stage": "simulating"},
        {"unit": "a", "weight": 10, "day": 41, "days": 83, "elapsed_s": 5.0},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (nothing / "mine" / "progress.jsonl").write_text(text, encoding="utf-8")
    again = open_page("runs")  # a reload: nothing of the page before is left
    (bar,) = again.get("progress")
    assert bar.proto.value == 50
    assert "**mine**: simulating, 50 % 0:05 left" in bar.proto.text
    again.button(key="stop-mine").click().run()
    until = time.monotonic() + 10
    while launch.is_running(nothing, "mine") and time.monotonic() < until:
        time.sleep(0.05)
    after = open_page("runs")
    assert "**mine** ended without a complete run" in after.error[0].value
    after.button(key="dismiss-mine").click().run()
    assert not launch.jobs(nothing)
