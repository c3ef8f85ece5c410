"""Parts of the interface that need no engine: stop strings, fields, limits, labels, streams."""

from __future__ import annotations

import asyncio
import json
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InputError

pytest.importorskip("fastapi", reason="needs the node extra (fastapi)")
pytest.importorskip("torch", reason="needs the node extra (torch)")

from pydantic import ValidationError

from reference_node.serve.limits import Limits
from reference_node.serve.metrics import BASE, ENSEMBLE, OTHER, Metrics
from reference_node.serve.opening import NodeOptions
from reference_node.serve.schemas import UNSUPPORTED, ChatRequest, CompletionRequest
from reference_node.serve.stops import StopMatcher
from reference_node.serve.stream import EventStream, event

pytestmark = pytest.mark.node

STOPS = [
    # text, stops, what is left, stopped
    ("hello world", [], "hello world", False),
    ("hello world", ["wor"], "hello ", True),
    ("hello world", ["xyz"], "hello world", False),
    ("aaab", ["aab"], "a", True),
    ("abcabd", ["abd"], "abc", True),
    ("one two", ["two", "one"], "", True),
    ("xaby", ["abz", "b"], "xa", True),
    ("xabc", ["bc", "abc"], "x", True),
    ("hello wor", ["world"], "hello wor", False),
    ("a\n\nb", ["\n\n"], "a", True),
]


@pytest.mark.parametrize(("text", "stops", "left", "stopped"), STOPS)
def test_stop_strings(text: str, stops: list[str], left: str, stopped: bool) -> None:
    matcher = StopMatcher(stops)
    shown = [matcher.push(letter) for letter in text]
    assert "".join(shown) + matcher.flush() == left
    assert matcher.stopped is stopped


@given(
    st.text("ab", max_size=30),
    st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
    st.lists(st.integers(0, 4), min_size=40, max_size=40),
)
def test_how_a_text_is_cut_changes_nothing(text: str, stops: list[str], sizes: list[int]) -> None:
    whole, cut = StopMatcher(stops), StopMatcher(stops)
    expected = whole.push(text) + whole.flush()
    ends = list(accumulate(sizes))
    pieces = [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
    shown = [cut.push(piece) for piece in pieces]
    assert "".join(shown) + cut.flush() == expected
    assert cut.stopped is whole.stopped
    assert not any(stop in expected for stop in stops)
    assert text.startswith(expected)
    if whole.stopped:
        rest = text[len(expected) :]
        assert any(rest.startswith(stop) for stop in stops)
        first = min(text.find(stop) + len(stop) for stop in stops if stop in text)
        assert not any(stop in text[: first - 1] for stop in stops)


@pytest.mark.parametrize("field", sorted(UNSUPPORTED))
def test_known_fields_that_are_not_served_are_named(field: str) -> None:
    loud = {"model": "base", "prompt": "x", field: "something"}
    assert CompletionRequest.model_validate(loud).unsupported() == [field]
    for neutral in (None, *UNSUPPORTED[field]):
        quiet = {"model": "base", "prompt": "x", field: neutral}
        assert CompletionRequest.model_validate(quiet).unsupported() == []


def test_true_is_not_one_and_unknown_fields_are_ignored() -> None:
    body = {"model": "base", "prompt": "x", "n": True, "presence_penalty": False, "vendor_field": {"a": 1}}
    assert CompletionRequest.model_validate(body).unsupported() == ["n", "presence_penalty"]


WRONG = [
    {"max_tokens": 0},
    {"max_tokens": "5"},
    {"max_tokens": 5.0},
    {"temperature": -0.1},
    {"temperature": float("nan")},
    {"top_p": 0},
    {"seed": 1 << 63},
    {"stop": ""},
    {"stop": ["a"] * 17},
    {"stop": "x" * 257},
    {"stream": "yes"},
    {"messages": []},
    {"messages": [{"role": "robot", "content": "x"}]},
    {"messages": [{"content": "x"}]},
    {"model": ""},
    {"adapters": []},
    {"adapters": [{"model": "a", "weight": float("inf")}]},
]


@pytest.mark.parametrize("change", WRONG, ids=[str(change)[:40] for change in WRONG])
def test_wrong_types_and_ranges_are_refused(change: dict[str, object]) -> None:
    body = {"model": "base", "messages": [{"role": "user", "content": "x"}], **change}
    with pytest.raises(ValidationError):
        ChatRequest.model_validate(body)


def test_limits_name_every_bound_that_lets_nothing_through() -> None:
    with pytest.raises(InputError) as found:
        Limits(queue=0, wall_s=-1)
    assert [problem.path for problem in found.value.problems] == ["limits.queue", "limits.wall_s"]


def test_a_node_without_keys_is_not_reachable_from_elsewhere() -> None:
    with pytest.raises(InputError, match="without keys"):
        NodeOptions(auth=False, host="0.0.0.0")
    assert NodeOptions(auth=False).host == "127.0.0.1"


def test_options_say_all_that_is_wrong() -> None:
    with pytest.raises(InputError) as found:
        NodeOptions(port=70_000, dtype="int8", kv_bytes=-1)
    assert len(found.value.problems) == 3


def test_adapter_labels_are_bounded() -> None:
    metrics = Metrics(2)
    assert metrics.label([]) == BASE
    assert metrics.label(["a", "b"]) == ENSEMBLE
    assert [metrics.label([name]) for name in "abcab"] == ["a", "b", OTHER, "a", "b"]


def test_an_event_is_one_line_whatever_the_text_holds() -> None:
    text = "line\nline\r\n\u2028 data: [DONE]\n\n"
    sent = event({"text": text})
    assert sent.startswith(b"data: ")
    assert sent.endswith(b"\n\n")
    assert sent.count(b"\n") == 2
    assert json.loads(sent[6:])["text"] == text


class Wire:
    """The two ends of a connection as ASGI shows them."""

    def __init__(self, *, stalled: bool = False) -> None:
        self.sent: list[bytes] = []
        self.gone = asyncio.Event()
        self.stalled = stalled

    async def receive(self) -> dict[str, str]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, object]) -> None:
        if message["type"] == "http.response.body" and self.stalled:
            await asyncio.sleep(60)
        self.sent.append(bytes(message.get("body", b"")))  # type: ignore[call-overload]


@pytest.mark.parametrize("leave", ["while waiting", "while sending", "stalled"])
def test_a_reader_that_leaves_closes_the_generator(leave: str) -> None:
    closed: list[str] = []

    async def main() -> None:
        wire = Wire(stalled=leave != "while waiting")

        async def events():
            try:
                yield b"first"
                await asyncio.sleep(60)
                yield b"never"
            finally:
                closed.append("closed")

        response = EventStream(events(), {}, send_s=0.05 if leave == "stalled" else 60)
        serving = asyncio.create_task(response({"type": "http"}, wire.receive, wire.send))
        await asyncio.sleep(0.01)
        if leave != "stalled":
            wire.gone.set()
        await asyncio.wait_for(serving, 5)

    asyncio.run(main())
    assert closed == ["closed"]
