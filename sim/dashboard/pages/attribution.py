"""Attribution: whose data an answer of a running node rests on, who is paid for it, and the proof of its record.

Rules decided here. The page talks to a node over HTTP and is the only one that needs one; it asks when a button is
pressed and keeps what it got, so that looking costs nothing. The key is kept for the session and written nowhere. What
comes from the node is shown as text.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import streamlit as st

from sim.dashboard import figures_attribution, highlight
from sim.dashboard.inquiry import PAYEES, Inquiry, Question, inquire, payees
from sim.dashboard.node_answers import Attribution, Bill, Completion, Model, Proof
from sim.dashboard.node_client import BUILD, SERVE, NodeClient, NodeError
from sim.dashboard.shell import page, plot, table, tiles, verbatim

ADDRESS = "http://127.0.0.1:8000"
CONNECTION, INQUIRY = "attribution-connection", "attribution-inquiry"
TOKENS, TOKENS_MAX = 96, 8_192
PARTS = ("platform", "model", "stakers", "contributors")
_CALM = (404, 409)


@dataclass(frozen=True, slots=True)
class Connection:
    """A node that was looked for: what was entered, and its models or why there are none."""

    address: str
    key: str
    node: NodeClient | None
    models: tuple[Model, ...]
    failure: NodeError | None


def show() -> None:
    """Draw the page."""
    says = "Whose data an answer of a running node rests on, who is paid for it, and the proof that it is recorded."
    with page("Attribution", says):
        connection = _connect()
        if connection.node is None or connection.failure is not None:
            _say(connection.failure)
            if connection.failure is not None and connection.failure.status:
                return
            st.caption("This page needs no run; it needs a node whose answers are attributed. In a terminal:")
            st.code(f"{BUILD}\n{SERVE}", language="bash")
            return
        _ask(connection.node, connection.models)
        inquiry = st.session_state.get(INQUIRY)
        if inquiry is not None and inquiry.node == connection.node:
            _inquiry(inquiry)


def _connect() -> Connection:
    """Return the node that the page talks to; it is looked for at first, and when the button is pressed."""
    known: Connection | None = st.session_state.get(CONNECTION)
    with st.form("node", border=False):
        left, middle, right = st.columns([3, 3, 1], vertical_alignment="bottom")
        start = os.environ.get("OLSIM_NODE", ADDRESS) if known is None else known.address
        address = left.text_input("Address of the node", start, key="node-address")
        secret = middle.text_input(
            "API key",
            "" if known is None else known.key,
            type="password",
            key="node-key",
            help="Empty for a node without keys. Kept for this session alone, sent to this address alone.",
        )
        pressed = right.form_submit_button("Connect", width="stretch")
    if known is None or pressed:
        known = st.session_state[CONNECTION] = _look_for(address, secret)
    return known


def _look_for(address: str, key: str) -> Connection:
    node = None
    try:
        node = NodeClient(address, key)
        return Connection(address, key, node, tuple(node.models()), None)
    except NodeError as error:
        return Connection(address, key, node, (), error)


def _ask(node: NodeClient, models: tuple[Model, ...]) -> None:
    """Show the question; ask it when the button is pressed, unless all of its answer is here already."""
    last: Inquiry | None = st.session_state.get(INQUIRY)
    names = [model.id for model in models]
    adapters = [model.id for model in models if model.parent is not None]
    chosen = last.question.model if last is not None and last.question.model in names else None
    with st.form("question"):
        left, right = st.columns([3, 1])
        first = chosen or next(iter(adapters), None)
        model = left.selectbox(
            "Model", names, index=names.index(first) if first else 0, key="node-model",
            help="Attributed are answers of an adapter whose bundle the node was started with.",
        )  # fmt: skip
        tokens = right.number_input(
            "Most tokens of the answer",
            1,
            TOKENS_MAX,
            last.question.tokens if last else TOKENS,
            key="node-tokens",
        )
        prompt = st.text_area(
            "Prompt", last.question.prompt if last else "", key="node-prompt", height=90,
            placeholder="For example: What does dyspnoea mean?",
        )  # fmt: skip
        pressed = st.form_submit_button("Ask", type="primary", help="Temperature 0. Each answer is billed.")
    if not pressed:
        return
    if not prompt.strip() or model is None:
        st.warning("Write a prompt, and choose a model.")
        return
    question = Question(model, prompt.strip(), int(tokens))
    if last is not None and (last.node, last.question, last.whole) == (node, question, True):
        st.caption("Nothing was changed: this is the answer that was given and billed before.")
        return
    with st.spinner("The node answers and attributes …"):
        st.session_state[INQUIRY] = inquire(node, question)


def _say(error: NodeError | None) -> None:
    """Show why something is missing; calmly where the node just does not offer it."""
    if error is None:
        return
    words = f" The node says: {verbatim(error.words)}" if error.words else ""
    if not error.status:
        st.warning(error.said + words)
    elif error.status in _CALM:
        st.info(error.said + words)
    else:
        st.error(error.said + words)


def _inquiry(inquiry: Inquiry) -> None:
    answer, found, bill = inquiry.answer, inquiry.attribution, inquiry.bill
    if isinstance(answer, NodeError):
        _say(answer)
        return
    _facts(answer, found, bill)
    st.header("Answer")
    if isinstance(found, Attribution):
        _words(found)
        st.header("Shares by method")
        _shares(inquiry.question.model, found)
    else:
        st.html(highlight.plain(answer.text or "(no words)"))
        _say(found)
    st.header("Payout")
    if isinstance(bill, Bill):
        _payout(bill, found if isinstance(found, Attribution) else None)
    else:
        _say(bill)
    st.header("Proof")
    if isinstance(inquiry.proof, Proof):
        _proof(inquiry.proof, answer.bill.request_id)
    else:
        _say(inquiry.proof)


def _facts(answer: Completion, found: object, bill: object) -> None:
    shown = [("Fee, gwei", f"{answer.bill.fee_gwei:,}", "What this answer costs; 10^9 gwei are 1 OPEN")]
    if isinstance(bill, Bill):
        used = f"{bill.tokens_in:,} + {bill.tokens_out:,}"
        paid = f"{bill.parts_gwei.get('contributors', 0):,}"
        shown.insert(0, ("Tokens in + out", used, "Prompt and answer, as billed"))
        shown.append(("To contributors, gwei", paid, "Their part of the fee"))
    if isinstance(found, Attribution):
        people = len({one.address for one in found.weights if one.weight})
        shown.append(("Paid by weight", str(people), "Addresses of contributors with a weight"))
        shown.append(("Attribution, ms", f"{found.took_ms:,.0f}", "After the last token, before the record"))
    tiles(shown)


def _words(found: Attribution) -> None:
    """Show the answer with its spans, and the documents that hold them."""
    with st.container(border=True):
        st.html(highlight.highlighted(found) if any(found.tokens) else highlight.plain("(no words)"))
    if not found.spans:
        st.caption("No span of it stands in a document that may be named; influence needs no equal words.")
        return
    st.caption(
        "Coloured words stand in the corpus just so; where spans overlap the longest is shown. Hover over one for its "
        "documents. A span that the prompt began is cut to the answer. Spans show where words were seen; who is paid "
        "is decided by the shares below."
    )
    rows = highlight.rows(found)
    table(highlight.COLUMNS, rows, height=320 if len(rows) > 8 else None)


def _shares(model: str, found: Attribution) -> None:
    note = f"one answer of {model}; recorded method {found.method}; class: measured"
    plot(figures_attribution.shares(found, note), "shares")
    said = "The outlined method is in the record and pays; the others stand beside it and pay nothing."
    if found.recorded is None:
        said = f"The record pays by {verbatim(found.method)}, whose shares are the weights below."
    st.caption(
        f"{said} Nearly equal documents count as one, and the first that was registered is paid for it unless the "
        "node's policy says otherwise: a span may name somebody else than is paid."
    )


def _payout(bill: Bill, found: Attribution | None) -> None:
    parts = [*PARTS, *(part for part, gwei in bill.parts_gwei.items() if gwei and part not in PARTS)]
    tiles(
        [("Fee, gwei", f"{bill.fee_gwei:,}", "")]
        + [(f"{part.capitalize()}, gwei", f"{bill.parts_gwei.get(part, 0):,}", "") for part in parts[:6]]
    )
    faults = bill.faults()
    if faults:
        st.error(f"The bill does not add up: {'; '.join(faults)}.")
    else:
        st.caption("Adds up to the gwei: parts to the fee, payees to the parts of model and contributors.")
    rows = payees(bill, found)
    if found is None:
        columns = PAYEES[2], PAYEES[4]
        table(columns, [[row[2], row[4]] for row in rows])
        st.caption(
            "Without attribution the manifest's fixed shares pay; the node names nobody behind an address."
        )
        return
    table(PAYEES, rows, height=420 if len(rows) > 12 else None)
    st.caption(
        "One address is one payee. A record carries the largest weights; what it leaves out is paid by the "
        "manifest's fixed shares, so that a contributor without weight may get a little."
    )


def _proof(proof: Proof, request_id: str) -> None:
    """Check the proof here and say what it shows."""
    where = f"number {proof.seq:,}, counted from 0, of the {proof.size:,} records in the node's log"
    if not proof.leads_to_root():
        st.error(f"NOT verified: the path does not lead from the record to the root as {where}.")
    elif not proof.is_of(request_id):
        st.error("NOT verified: the record is in the node's log, but it is that of another request.")
    else:
        st.success(f"Verified: this request is {where}, by its RFC 9162 path, checked on this machine.")
    shown = {
        "request": request_id,
        "SHA-256 of record": proof.record_sha256,
        "root of the log": proof.root,
        "hashes on the path": str(len(proof.path)),
    }
    st.code("\n".join(f"{what:<20}{value}" for what, value in shown.items()), language=None)
    st.caption(
        "The root is the node's word until an epoch posts it: `olsim node settle` closes one, `olsim node post` writes "
        "its root on chain, and a record proved against that root cannot be changed or left out afterwards."
    )
    with st.expander("The record's bytes and the path"):
        st.code("\n".join([proof.record, "", *proof.path]), language=None, wrap_lines=True)
