"""Figures and documents: valid, the same bytes every time, and nothing loaded from outside."""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from datetime import date
from pathlib import Path

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from models.errors import InputError
from sim.commands.report import read_date, report
from sim.observables import OBSERVABLES
from sim.report import figures_market, figures_node, figures_people
from sim.report.appendix import sensitivity_blocks
from sim.report.blocks import Table
from sim.report.document import write_report
from sim.report.html import render as render_html
from sim.report.markdown import render as render_markdown
from sim.report.style import Note, thinned
from sim.report.trace import FEEDS, trace
from sim.results import Run, load_run

sys.path.insert(0, str(Path(__file__).parent))
import synthetic_runs as toy

NOTE = Note(5, "estimated")
AS_OF = date(2026, 9, 8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return load_run(toy.run_directory(tmp_path_factory.mktemp("report") / "run", runs=5))


FIGURES = {
    "unlocks": lambda run: figures_market.unlocks(run.unlocks, NOTE),
    "price": lambda run: figures_market.price_fan(run.metrics, NOTE),
    "supplies": lambda run: figures_market.supplies(run.metrics, NOTE),
    "cover": lambda run: figures_market.cover(run.metrics, NOTE),
    "twins": lambda run: figures_market.twins(run.metrics, run.twins, NOTE),
    "income": lambda run: figures_people.income(run.metrics, NOTE),
    "concentration": lambda run: figures_people.concentration(run.groups, run.metrics, AS_OF, NOTE),
    "turnout": lambda run: figures_people.turnout(run.metrics, NOTE),
    "pots": lambda run: figures_people.pots(run.metrics, NOTE),
    "serving": lambda run: figures_node.serving(run.metrics, NOTE),
    "serving_money": lambda run: figures_node.serving_money(run.metrics, NOTE),
    "bridge": lambda run: figures_node.bridge(run.metrics, NOTE),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_deterministic_svg_with_its_class(run: Run, name: str) -> None:
    svg = FIGURES[name](run)
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert "weakest input: estimated" in svg
    assert FIGURES[name](run) == svg


def test_a_fan_says_how_many_runs(run: Run) -> None:
    svg = figures_market.price_fan(run.metrics, NOTE)
    assert "5, 25, 50, 75, 95 % of 5 runs" in svg
    assert "USD per OPEN (log)" in svg


def test_figures_bear_columns_without_values(run: Run) -> None:
    empty = run.metrics.with_columns(
        pl.lit(None, pl.Float64).alias(o.name) for o in OBSERVABLES if o.unit != "OPEN"
    )
    for figure in (
        figures_people.turnout,
        figures_people.income,
        figures_node.serving,
        figures_node.serving_money,
    ):
        assert ElementTree.fromstring(figure(empty, NOTE)).tag.endswith("svg")
    assert (
        ElementTree.fromstring(figures_people.concentration(run.groups.clear(), empty, AS_OF, NOTE))
        is not None
    )


def test_cliffs_are_buckets_that_were_locked(run: Run) -> None:
    assert figures_market.cliffs(run.unlocks) == [(date(2026, 9, 9), "team")]


def test_the_concentration_curve_by_hand(run: Run) -> None:
    people, held = figures_people.lorenz_points(run.groups, 365)
    assert people == pytest.approx([k / 10 for k in range(11)])
    assert held == pytest.approx([sum(range(k + 1)) / 55 for k in range(11)])  # decile k holds k parts of 55


def test_thinning_keeps_the_last_day(run: Run) -> None:
    one = run.metrics.filter(pl.col("run") == 0)
    few = thinned(one, 50)
    assert few.height <= 60
    assert few["day"][-1] == toy.DAYS


@pytest.fixture(scope="module")
def documents(run: Run) -> tuple[str, str]:
    page, text, _ = write_report(run)
    return page.read_text(), text.read_text()


def test_the_documents(documents: tuple[str, str]) -> None:
    for part in (page.replace("&nbsp;", " ") for page in documents):
        body = part[part.rfind("</nav>") + 1 :]
        order = [part.index(SECTIONS[0]), *(body.index(word) for word in SECTIONS[1:])]
        assert order[1:] == sorted(order[1:])
        assert "toy.yaml:9:3" in part
        assert "attribution in the serving path is not measured yet" in part
        assert "50.0 % of parameters still illustrative" in part
    html = documents[0]
    assert html.count("<svg") == len(FIGURES)
    assert html.count("weakest input: ") == len(FIGURES) + 1  # every figure's note, and the verdict


SECTIONS = (
    "pay for 300 %", "Headline", "Who is paid, and why", "Who gains and who loses", "Treasury and supply",
    "Governance", "Proved on chain", "Sensitivity",
    "Assumptions", "Every parameter of the scenario", "Columns without values", "Reproduce",
)  # fmt: skip


def test_the_page_loads_nothing(documents: tuple[str, str]) -> None:
    html = documents[0]
    assert not re.search(r"(src|href|data|action)\s*=\s*[\"']?\s*(https?:)?//", html, re.IGNORECASE)
    assert not re.search(
        r"url\(\s*[\"']?(https?:)?//|@import|<script|<link|<iframe|<img", html, re.IGNORECASE
    )
    names = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert set(re.findall(r"https?://[^\"'<\s]+", html)) <= names


def test_twins_differ_by_half_a_dollar(run: Run) -> None:
    tables = [block for block in sensitivity_blocks(run, AS_OF) if isinstance(block, Table)]
    rows = [row for table in tables for row in table.rows]
    assert [row for row in rows if row[0] == "price"] == [
        ("price", "USD", "0.500", "same in all runs", "0.500", "same in all runs")
    ]
    assert tables[0].caption.startswith("no_unlock: investors' and team's tokens stay locked")
    assert tables[0].columns[2] == "2026-09-08: mean (95 % interval)"


def test_the_contents_link_to_every_section(documents: tuple[str, str]) -> None:
    html = documents[0]
    links = re.findall(r'<a href="#([^"]+)">', html)
    assert links == re.findall(r'<h2 id="([^"]+)">', html)
    assert links[:2] == ["headline", "who-is-paid-and-why"]


def test_columns_of_numbers_stand_to_the_right() -> None:
    html = render_html("t", [Table(("name", "n"), (("a", "1.20 M"), ("b", "–"), ("c", "< 0.0001")))])
    assert '<th>name</th><th class="number">n</th>' in html
    assert '<td class="short number">1.20&nbsp;M</td>' in html


def test_texts_are_escaped() -> None:
    table = Table(("a",), (("<b>|</b>",),))
    assert "&lt;b&gt;|&lt;/b&gt;" in render_html("t", [table])
    assert "<b>\\|</b>" in render_markdown("t", [table])


class TestTrace:
    def test_flows_parameters_and_votes(self, run: Run) -> None:
        found = trace(run, "treasury_gwei", 120)
        assert found.over_runs.p50 == 1000 + 200 + 120
        assert found.witness == 1000 + 120
        assert found.month_end == 122
        assert [(flow.flow, flow.amount_gwei) for flow in found.flows] == [("B2", 7 * toy.GWEI)]
        assert [event.subject for event in found.events] == ["proposal 1"]

    @pytest.mark.parametrize(("day", "value"), [(0, "0 %"), (114, "0 %"), (115, "1 %")])
    def test_dated_parameters_in_force(self, run: Run, day: int, value: str) -> None:
        row = next(row for row in trace(run, "fee_gross_usd", day).parameters if row.path == "fees.burn")
        assert (row.value, row.place) == (value, "toy.yaml:9:3")

    def test_an_account(self, run: Run) -> None:
        found = trace(run, "price_usd", 10, "treasury.l2")
        assert found.balances == (("treasury.l2", 30 * toy.GWEI),)
        assert [flow.target for flow in found.flows] == ["treasury.l2"]

    @pytest.mark.parametrize(
        ("metric", "day", "account", "said"),
        [
            ("price", 1, "", "metric 'price' is unknown"),
            ("price_usd", 401, "", "day 401 is outside the run; allowed 0 to 400"),
            ("price_usd", 1, "wallets", "account 'wallets' is unknown; labels begin with one of treasury.l2"),
        ],
    )
    def test_bad_questions(self, run: Run, metric: str, day: int, account: str, said: str) -> None:
        with pytest.raises(InputError, match=re.escape(said)):
            trace(run, metric, day, account)

    def test_every_output_has_feeds(self) -> None:
        assert {o.output for o in OBSERVABLES} <= set(FEEDS)


def test_a_date_that_is_none() -> None:
    with pytest.raises(InputError, match="'soon' is not a date; expected YYYY-MM-DD"):
        read_date("soon")


def test_the_command_prints_one_object(run: Run) -> None:
    single = typer.Typer()
    single.command()(report)
    result = CliRunner().invoke(single, [str(run.directory), "--as-of", "2026-03-08", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["headline"]["as_of"] == "2026-03-08"
    assert told["run"] == str(run.directory)
    assert told["conservation_residual_gwei"] == 0
