"""The page on attribution over a node that answers in this process: words, shares, money, proof, and failures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_node
import pytest
from fake_node import ADA, BEN, KEY, OWNER, REQUEST, FakeNode, refusal
from opening import open_page
from streamlit.testing.v1 import AppTest

from sim.dashboard import figures_attribution, highlight
from sim.dashboard.inquiry import payees
from sim.dashboard.node_answers import Attribution, Bill
from sim.report.style import SERIES


def parsed(**changed: Any) -> Attribution:
    return Attribution.model_validate_json(json.dumps(fake_node.attribution() | changed))


@pytest.fixture
def node(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNode]:
    """Serve the node that the page finds at first; there is no run, and none is needed."""
    with fake_node.serving() as served:
        monkeypatch.setenv("OLSIM_NODE", served.address)
        yield served


def ask(prompt: str = "What helps?") -> AppTest:
    app = open_page("attribution")
    return press(app, prompt)


def press(app: AppTest, prompt: str) -> AppTest:
    app.text_area(key="node-prompt").set_value(prompt)
    button = next(button for button in app.button if button.label == "Ask")
    return button.click().run()


def said(app: AppTest) -> str:
    assert not app.exception
    parts = (app.caption, app.info, app.warning, app.error, app.success, app.code)
    return "\n".join(str(element.value) for kind in parts for element in kind)


def html(app: AppTest) -> str:
    return "".join(element.proto.body for element in app.get("html"))


def figure(app: AppTest) -> dict[str, Any]:
    (chart,) = app.get("plotly_chart")
    found: dict[str, Any] = json.loads(chart.proto.spec)
    return found


def test_an_answer_is_shown_with_shares_money_and_proof(node: FakeNode) -> None:
    app = ask()
    words = said(app)
    assert not app.error
    assert not app.warning
    assert [header.value for header in app.header] == ["Answer", "Shares by method", "Payout", "Proof"]
    shown = {metric.label: metric.value for metric in app.metric}
    assert shown["Tokens in + out"] == "5 + 6"
    assert shown["Fee, gwei"] == "10,000"
    assert shown["Paid by weight"] == "2"
    assert [shown[f"{part}, gwei"] for part in ("Platform", "Model", "Stakers", "Contributors")] == [
        "1,000", "2,000", "2,000", "5,000",
    ]  # fmt: skip
    assert "Adds up to the gwei" in words
    assert "Verified: this request is number 2, counted from 0, of the 5 records" in words
    honest = fake_node.proof()
    assert honest["root"] in words
    assert honest["record"] in words
    spans, paid = (frame.value for frame in app.dataframe)
    assert list(spans["document"]) == ['"d1"', "–", "d3"]
    assert list(spans["times in the corpus"]) == [3, 9, 1]
    assert list(paid["who"]) == ["ada & co", "model owner", "<i>ben</i>"]
    assert list(paid["gwei of this bill"]) == [3_400, 2_000, 1_600]


def test_shares_stand_by_method_and_the_recorded_one_is_marked(node: FakeNode) -> None:
    shown = figure(ask())
    assert shown["layout"]["title"]["text"] == "<b>Contributors' shares by method</b>"
    note = "one answer of medicine; recorded method ef_spans.v1; class: measured"
    assert shown["layout"]["title"]["subtitle"]["text"] == note
    assert [trace["name"] for trace in shown["data"]] == [
        "fixed shares of the manifest",
        "published span formula",
        "influence and spans (tier 1): recorded, pays",
    ]
    assert shown["data"][2]["x"] == [
        ["notes", "notes", "terms"],
        ["ada &amp; co", "&lt;i&gt;ben&lt;/i&gt;", "ada &amp; co"],
    ]
    assert shown["data"][2]["y"] == [0.7, 0.3, 0.0]
    outlines = [trace["marker"]["line"]["width"] for trace in shown["data"]]
    assert outlines == [0, 0, 1.5]
    assert "%" in shown["layout"]["yaxis"]["tickformat"]


def test_many_contributors_leave_bars_for_the_largest_and_one_for_the_rest() -> None:
    many = [
        {"datanet": "d", "contributor": f"c{i:02}", "address": ADA, "share": share}
        for i, share in enumerate([0.31, *[0.03] * 23])
    ]
    drawn = figures_attribution.shares(parsed(methods={"poa_rag": many}), "note")
    (bars,) = drawn.data
    assert len(bars.y) == figures_attribution.SHOWN + 1
    assert bars.x[1][-1] == "all others"
    assert sum(bars.y) == pytest.approx(1)
    assert bars.y[-1] == pytest.approx(8 * 0.03)
    assert bars.name == "poa_rag"
    empty = figures_attribution.shares(parsed(methods={}), "note")
    assert empty.layout.annotations[0].text == "the node names no shares"


def test_words_show_the_longest_span_and_are_escaped(node: FakeNode) -> None:
    shown = html(ask())
    assert "<b>" not in shown
    assert shown.count("<mark") == 2
    assert "Rest and &lt;b&gt;drink<sup>1</sup></mark>" in shown
    assert " tea.<sup>3</sup></mark>" in shown
    assert (
        'title="span 1: 4 tokens, 3 times in the corpus\n&quot;d1&quot; (notes, ada &amp; co)\nand 2 more"'
        in shown
    )


def test_overlaps_are_the_longest_and_a_longer_one_cuts_a_shorter_in_two() -> None:
    around = {"start": 0, "stop": 6, "count": 1, "sources": []}
    shorter = {"start": 0, "stop": 3, "count": 1, "sources": []}
    later = {"start": 2, "stop": 5, "count": 1, "sources": []}
    spans = highlight.in_order(parsed(spans=[later, shorter]).spans)
    assert highlight.shown(spans, 6) == [0, 0, 0, 1, 1, None]
    assert highlight.shown(highlight.in_order(parsed(spans=[later, around]).spans), 6) == [0] * 6
    coloured = highlight.highlighted(parsed(spans=[later, shorter]))
    assert [colour in coloured for colour in SERIES[:3]] == [True, True, False]
    assert highlight.rows(parsed(spans=[around]))[0][:6] == [1, "–", "–", "–", 6, 1]


def test_who_a_stranger_is_is_told_only_where_it_is_known() -> None:
    found, honest = parsed(), fake_node.bill()
    assert [row[0] for row in payees(Bill(**honest), found)] == ["ada & co", "model owner", "<i>ben</i>"]
    assert [row[:2] for row in payees(Bill(**honest), None)] == [["", ""]] * 3
    two = honest | {"payees_gwei": {OWNER: 2_000, ADA: 4_999, "0x" + "d" * 40: 1}}
    rows = {row[2]: row for row in payees(Bill(**two), found)}
    assert rows[OWNER][0] == ""
    assert rows[BEN] == ["<i>ben</i>", "notes", BEN, 300_000_000, 0]
    assert rows[ADA][1] == "notes, terms"


def test_looking_asks_nothing_again(node: FakeNode) -> None:
    app = ask()
    before = list(node.asked)
    app.run()
    assert node.asked == before
    assert len(app.header) == 4
    press(app, "What helps?")
    assert node.asked == before
    assert "Nothing was changed" in said(app)
    press(app, "What else helps?")
    assert node.count("/v1/chat") == 2
    assert len(app.header) == 4


def test_what_was_missing_is_asked_for_again(node: FakeNode) -> None:
    whole = node.answers["/v1/attributions"]
    node.answers["/v1/attributions"] = (404, refusal("this node attributes nothing"))
    app = ask()
    words = said(app)
    assert "This answer is not attributed: make a bundle" in app.info[0].value
    assert "The node says: `this node attributes nothing`" in words
    assert not app.error
    assert "Rest and &lt;b&gt;drink tea." in html(app)
    assert [header.value for header in app.header] == ["Answer", "Payout", "Proof"]
    assert list(app.dataframe[0].value.columns) == ["address", "gwei of this bill"]
    assert not app.get("plotly_chart")
    node.answers["/v1/attributions"] = whole
    press(app, "What helps?")
    assert len(app.header) == 4
    assert node.count("/v1/chat") == 2


def test_a_node_without_proofs_is_told_calmly(node: FakeNode) -> None:
    node.answers["/v1/proofs"] = (404, refusal("Not Found"))
    app = ask()
    said(app)
    assert "No proof is offered for this request." in app.info[0].value
    assert not app.error


def test_forged_proofs_do_not_verify(node: FakeNode) -> None:
    node.answers["/v1/proofs"] = (200, fake_node.proof() | {"root": "00" * 32})
    app = ask()
    assert "NOT verified: the path does not lead" in app.error[0].value
    assert not app.success
    node.answers["/v1/proofs"] = (200, fake_node.proof("77" * 16))
    again = press(app, "Another?")
    assert "NOT verified: the record is in the node's log, but it is that of another" in again.error[0].value
    assert not again.success


def test_a_bill_that_does_not_add_up_is_told(node: FakeNode) -> None:
    wrong = fake_node.bill() | {"fee_gwei": 9_999}
    node.answers["/v1/billing"] = (200, {"data": [wrong]})
    assert "the parts sum to 10,000 gwei, the fee is 9,999" in ask().error[0].value


def test_a_recorded_method_without_shares_is_said(node: FakeNode) -> None:
    node.answers["/v1/attributions"] = (200, fake_node.attribution() | {"method": "sampled.v2"})
    app = ask()
    assert "The record pays by `sampled.v2`" in said(app)
    assert all(trace["marker"]["line"]["width"] == 0 for trace in figure(app)["data"])


@pytest.mark.parametrize(
    ("path", "status", "part"),
    [
        ("/v1/chat/completions", 429, "ask again"),
        ("/v1/chat/completions", 404, "choose another model"),
        ("/v1/chat/completions", 400, "change the prompt"),
        ("/v1/attributions", 500, "look at its terminal"),
        ("/v1/billing", 403, "usage:read"),
    ],
)
def test_refusals_are_sentences_on_the_page(node: FakeNode, path: str, status: int, part: str) -> None:
    node.answers[path] = (status, refusal("**no** `really`"))
    app = ask()
    (shown,) = [*app.error, *app.info]
    assert part in shown.value
    assert shown.value.endswith("The node says: `**no** 'really'`")
    assert not app.exception


def test_without_a_node_the_page_says_how_to_start_one(nothing: Path) -> None:
    app = open_page("attribution")
    words = said(app)
    assert "There is no node at http://127.0.0.1:1: start one with `olsim node serve" in app.warning[0].value
    assert "olsim node attribute build ADAPTER DATASET --out BUNDLE" in words
    assert not app.error
    app.text_input(key="node-address").set_value("nonsense/x")
    app.button[0].click().run()
    assert "no address of a node" in said(app)


def test_a_node_with_keys_asks_for_one_and_the_key_is_not_shown(node: FakeNode) -> None:
    models = node.answers["/v1/models"]
    node.answers["/v1/models"] = (401, refusal("no key was given"))
    app = open_page("attribution")
    assert "wants an API key" in app.error[0].value
    node.answers["/v1/models"] = models
    app.text_input(key="node-key").set_value(KEY)
    app.button[0].click().run()
    press(app, "What helps?")
    assert len(app.header) == 4
    assert set(node.keys[1:]) == {f"Bearer {KEY}"}
    assert KEY not in said(app) + html(app)
    assert app.query_params == {}


def test_an_empty_prompt_is_not_sent(node: FakeNode) -> None:
    assert "Write a prompt" in said(ask("  "))
    assert node.count("/v1/chat") == 0


def test_another_node_hides_the_old_answer(node: FakeNode) -> None:
    app = ask()
    with fake_node.serving() as other:
        app.text_input(key="node-address").set_value(other.address)
        app.button[0].click().run()
        assert not app.exception
        assert not app.header
        assert other.asked == ["/v1/models"]
    assert REQUEST not in said(app)
