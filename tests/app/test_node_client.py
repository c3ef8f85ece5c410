"""The node's client: what it asks, what it makes of answers, and what it says of every failure."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator
from typing import Any

import fake_node
import pytest
from fake_node import CLOSED, KEY, REQUEST, FakeNode, refusal

from sim.dashboard import node_client
from sim.dashboard.inquiry import Question, inquire
from sim.dashboard.node_answers import Bill, Proof
from sim.dashboard.node_client import NodeClient, NodeError


@pytest.fixture
def node() -> Iterator[FakeNode]:
    with fake_node.serving() as served:
        yield served


def said(client: NodeClient, request_id: str = REQUEST) -> NodeError:
    with pytest.raises(NodeError) as caught:
        client.attribution(request_id)
    return caught.value


def test_a_question_is_asked_at_temperature_0_and_found_whole(node: FakeNode) -> None:
    client = NodeClient(node.address, KEY)
    assert [model.id for model in client.models()] == ["base", "medicine", "law"]
    inquiry = inquire(client, Question("medicine", "What helps?", 20))
    assert inquiry.whole
    (body,) = node.bodies
    assert body == {
        "model": "medicine",
        "messages": [{"role": "user", "content": "What helps?"}],
        "max_tokens": 20,
        "temperature": 0,
    }
    assert set(node.keys) == {f"Bearer {KEY}"}
    assert KEY not in repr(inquiry)


def test_what_the_node_does_not_give_leaves_the_rest(node: FakeNode) -> None:
    node.answers["/v1/proofs"] = (404, refusal("GET /v1/proofs: Not Found"))
    inquiry = inquire(NodeClient(node.address), Question("medicine", "What helps?", 20))
    assert isinstance(inquiry.proof, NodeError)
    assert isinstance(inquiry.bill, Bill)
    assert not inquiry.whole
    assert node.keys == [None] * 4
    node.answers["/v1/chat/completions"] = (429, refusal("queue full"))
    assert inquire(NodeClient(node.address), Question("medicine", "x", 1)).bill is None


def test_a_bill_that_is_not_among_the_newest_is_told(node: FakeNode) -> None:
    with pytest.raises(NodeError, match="not among the newest 100"):
        NodeClient(node.address).bill("00" * 16)


@pytest.mark.parametrize(
    ("written", "address"),
    [
        (" 127.0.0.1:8000 ", "http://127.0.0.1:8000"),
        ("http://localhost:8000/v1/", "http://localhost:8000"),
        ("https://node.example", "https://node.example"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_addresses_are_read_as_people_write_them(written: str, address: str) -> None:
    assert NodeClient(written).address == address


@pytest.mark.parametrize(
    "written",
    ["", "http://", "file:///etc/passwd", "http://a:99999", "http://a:0", "http://a b", "http://a/x", "http://a?x=1",
     "http://user:olk_key@host:8000", "http://[::1", "http://a\r\nx: y", "gopher://a"],
)  # fmt: skip
def test_what_is_no_address_is_refused_before_anything_is_sent(written: str) -> None:
    with pytest.raises(NodeError, match="no address of a node"):
        NodeClient(written)


@pytest.mark.parametrize("key", ["a b", "a\r\nx: y", "olk_ключ"])
def test_a_key_that_can_be_none_is_refused(key: str) -> None:
    with pytest.raises(NodeError, match="paste it again"):
        NodeClient(CLOSED, key)


@pytest.mark.parametrize(
    ("status", "part"),
    [
        (400, "refuses this (status 400)"),
        (401, "wants an API key that it knows"),
        (403, "scopes inference and usage:read"),
        (404, "not attributed: make a bundle of the adapter with `olsim node attribute build"),
        (409, "does not do this now"),
        (429, "full or the key's quota is used up: ask again in 7 s."),
        (302, "not followed"),
        (500, "failed (status 500)"),
        (503, "look at its terminal, and ask again in 7 s."),
    ],
)
def test_every_refusal_says_what_to_do_and_what_the_node_said(node: FakeNode, status: int, part: str) -> None:
    node.headers = {"retry-after": "7", "location": f"{CLOSED}/elsewhere"}
    node.answers["/v1/attributions"] = (status, refusal("these\n are its words"))
    error = said(NodeClient(node.address))
    assert part in error.said
    assert (error.words, error.status) == ("these are its words", status)
    assert len(node.asked) == 1


def test_404_depends_on_what_was_asked(node: FakeNode) -> None:
    for path in node.answers:
        node.answers[path] = (404, b"<html>")
    client = NodeClient(node.address)
    with pytest.raises(NodeError, match=r"No proof is offered for this request\."):
        client.proof(REQUEST)
    with pytest.raises(NodeError, match="choose another model"):
        client.chat("gone", "x", 1)


def test_nobody_listens() -> None:
    error = said(NodeClient(CLOSED))
    assert error.said == (
        f"There is no node at {CLOSED}: start one with `olsim node serve --attribution BUNDLE`, or correct the address."
    )
    assert error.status == 0


def test_a_host_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    assert "no host of the name" in said(NodeClient("http://nowhere.example")).said


def test_silence_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_client, "LOOK_S", 0.1)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        client = NodeClient(f"http://127.0.0.1:{mute.getsockname()[1]}")
        with pytest.raises(NodeError, match=r"said nothing for 0\.1 s"):
            client.models()


def test_a_connection_that_breaks(node: FakeNode) -> None:
    node.silent.set()
    error = said(NodeClient(node.address))
    assert "failed: look whether the node still runs" in error.said
    assert error.words


def test_https_at_a_port_without_it(node: FakeNode) -> None:
    assert "look" in said(NodeClient(node.address.replace("http", "https"))).said


@pytest.mark.parametrize(
    "body",
    [
        b"<html>hello</html>", b"[]", b"\xff", b"[" * 100_000, b"{}", fake_node.attribution() | {"tokens": ["a"]},
        fake_node.attribution() | {"took_ms": math.nan}, fake_node.attribution() | {"took_ms": "12"},
        fake_node.attribution() | {"weights": [fake_node.ADA_NOTES | {"weight": 10**9}] * 2},
        fake_node.attribution() | {"methods": {"m": [fake_node.ADA_NOTES | {"share": 1.5}]}},
        fake_node.attribution() | {"spans": [{"start": 2, "stop": 2, "count": 1, "sources": []}]},
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_refused_in_words(node: FakeNode, body: Any) -> None:
    node.answers["/v1/attributions"] = (200, body)
    assert "does not answer /v1/attributions/" in said(NodeClient(node.address)).said


def test_an_endless_answer_is_cut(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_client, "BODY_MAX", 100)
    assert "it is no node" in said(NodeClient(node.address)).said


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13])
def test_proofs_hold_and_forged_ones_do_not(size: int) -> None:
    for seq in range(size):
        honest = fake_node.proof(size=size, seq=seq)
        assert Proof(**honest).leads_to_root()
        assert Proof(**honest).is_of(REQUEST)
        assert not Proof(**honest).is_of("5b" * 16)
        forged = [
            honest | {"record": honest["record"] + "00"},
            honest | {"root": "00" * 32},
            honest | {"seq": seq + 1},
            honest | {"path": [*honest["path"], "00" * 32]},
        ]
        assert not any(Proof(**one).leads_to_root() for one in forged)


def test_bills_add_up_or_say_where_not() -> None:
    honest = fake_node.bill()
    assert Bill(**honest).faults() == []
    wrong = honest | {"fee_gwei": 9_999, "payees_gwei": {fake_node.ADA: 1}}
    assert Bill(**wrong).faults() == [
        "the parts sum to 10,000 gwei, the fee is 9,999",
        "payees get 1 gwei, model and contributors' parts are 7,000",
    ]
