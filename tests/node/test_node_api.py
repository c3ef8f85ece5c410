"""The interface over a live node: answers, streams, refusals, hang-ups."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("fastapi", reason="needs the node extra (fastapi)")

from reference_node.access import Quota
from tests.node.api_world import (
    PROMPT,
    Live,
    Reference,
    adapter,
    events,
    ids,
    live,
    make_base,
    settled,
    small,
    wait_until,
)

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def reference(base: Path) -> Reference:
    return Reference(base)


@pytest.fixture(scope="module")
def node(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(small(base, tmp_path_factory.mktemp("data"))) as one:
        one.upload("medicine", adapter(1))
        one.upload("law", adapter(2))
        yield one


@pytest.mark.parametrize("model", ["base", "medicine", "law"])
def test_a_completion_is_what_the_adapter_alone_says(node: Live, reference: Reference, model: str) -> None:
    answer = node.complete(model, PROMPT, max_tokens=12)
    assert answer.status_code == 200, answer.text
    body, made = answer.json(), node.uploaded.get(model)
    assert body["choices"][0]["text"] == reference.text(ids(node), made, 12)
    assert body["object"] == "text_completion"
    assert body["usage"]["prompt_tokens"] == len(ids(node))
    assert body["usage"]["total_tokens"] == len(ids(node)) + body["usage"]["completion_tokens"]
    expected = made.sha256 if made else "base"
    assert answer.headers["x-olsim-adapter"] == expected
    assert answer.headers["x-request-id"] == body["bill"]["request_id"] == body["id"].removeprefix("cmpl-")
    prefix = node.node.base_sha256[:12]
    assert body["system_fingerprint"] == (f"{prefix}+{made.sha256}" if made else prefix)


def test_texts_differ_between_adapters(reference: Reference, node: Live) -> None:
    texts = {reference.text(ids(node), made, 12) for made in (None, adapter(1), adapter(2))}
    assert len(texts) == 3


def test_token_ids_are_a_prompt_too(node: Live) -> None:
    one, other = node.complete("law", ids(node)), node.complete("law", PROMPT)
    assert one.json()["choices"] == other.json()["choices"]
    assert node.complete("law", [ids(node)]).json()["choices"] == other.json()["choices"]


def test_a_stream_says_the_same_as_the_whole_answer(node: Live) -> None:
    whole = node.complete("law", PROMPT, max_tokens=20).json()
    answer = node.complete("law", PROMPT, max_tokens=20, stream=True, stream_options={"include_usage": True})
    *chunks, last, usage = events(answer)
    assert "".join(c["choices"][0]["text"] for c in [*chunks, last]) == whole["choices"][0]["text"]
    assert [c["choices"][0]["finish_reason"] for c in [*chunks, last]] == [None] * len(chunks) + [
        whole["choices"][0]["finish_reason"]
    ]
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
    assert usage["bill"]["fee_gwei"] == last["bill"]["fee_gwei"]
    assert {c["system_fingerprint"] for c in [*chunks, last, usage]} == {whole["system_fingerprint"]}
    assert len({c["id"] for c in [*chunks, last, usage]}) == 1


def test_a_chat_stream_begins_with_the_role(node: Live) -> None:
    body = {"model": "medicine", "messages": [{"role": "user", "content": "Hello"}], "temperature": 0}
    whole = node.http.post("/v1/chat/completions", json={**body, "max_tokens": 10}).json()
    assert whole["choices"][0]["message"]["role"] == "assistant"
    first, *rest = events(
        node.http.post("/v1/chat/completions", json={**body, "max_tokens": 10, "stream": True})
    )
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    text = "".join(c["choices"][0]["delta"].get("content", "") for c in rest)
    assert text == whole["choices"][0]["message"]["content"]
    assert rest[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert all("usage" not in chunk for chunk in rest)


def test_roles_and_parts(node: Live) -> None:
    def ask(messages: list[dict[str, Any]]) -> Any:
        body = {"model": "base", "messages": messages, "max_tokens": 4, "temperature": 0}
        answer = node.http.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["choices"][0]["message"]["content"], answer.json()["usage"]["prompt_tokens"]

    text = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi there"}]
    parts = [
        {
            "role": "developer",
            "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}],
        },
        {"role": "user", "content": "Hi there"},
    ]
    assert ask(text) == ask(parts)


@pytest.mark.parametrize("as_list", [True, False])
def test_stop_strings_end_the_text_across_tokens(node: Live, reference: Reference, as_list: bool) -> None:
    text = reference.text(ids(node), node.uploaded["law"], 24)
    stop = text[len(text) // 2 : len(text) // 2 + 3]
    expected = text[: text.find(stop)]
    settings = {"stop": [stop, "never said"] if as_list else stop, "max_tokens": 24}
    whole = node.complete("law", PROMPT, **settings).json()
    assert (whole["choices"][0]["text"], whole["choices"][0]["finish_reason"]) == (expected, "stop")
    assert whole["usage"]["completion_tokens"] < 24
    chunks = events(node.complete("law", PROMPT, stream=True, **settings))
    assert "".join(c["choices"][0]["text"] for c in chunks) == expected


def test_max_tokens_under_both_names(node: Live) -> None:
    body = {"model": "base", "messages": [{"role": "user", "content": "Hello"}], "ignore_eos": True}
    for name in ("max_tokens", "max_completion_tokens"):
        answer = node.http.post("/v1/chat/completions", json={**body, name: 5}).json()
        assert answer["usage"]["completion_tokens"] == 5
        assert answer["choices"][0]["finish_reason"] == "length"


def test_a_seed_gives_the_same_text_again(node: Live) -> None:
    def ask(seed: int) -> str:
        answer = node.complete("base", PROMPT, temperature=1.0, seed=seed, max_tokens=16, ignore_eos=True)
        return str(answer.json()["choices"][0]["text"])

    assert ask(1) == ask(1)
    assert len({ask(seed) for seed in range(4)}) > 1


def test_an_ensemble_is_served_and_named(node: Live, reference: Reference) -> None:
    one, other = node.uploaded["medicine"], node.uploaded["law"]
    choice = [{"model": "medicine", "weight": 0.5}, {"model": "law", "weight": 0.25}]
    answer = node.complete("base", PROMPT, adapters=choice, max_tokens=8, ignore_eos=True)
    assert answer.status_code == 200, answer.text
    named = [f"{one.sha256}@0.5", f"{other.sha256}@0.25"]
    assert answer.headers["x-olsim-adapter"] == ", ".join(named)
    assert answer.json()["system_fingerprint"].split("+")[1:] == named
    reference.codec.eos_ids, eos = (), reference.codec.eos_ids
    try:
        tokens = reference.tokens(ids(node), {"1": (one, 0.5), "2": (other, 0.25)}, 8)
    finally:
        reference.codec.eos_ids = eos
    assert answer.json()["choices"][0]["text"] == reference.codec.decode(tokens)


REFUSED = [
    # change, status, param, code
    ({"n": 2}, 400, "n", "unsupported_parameter"),
    ({"logprobs": 3}, 400, "logprobs", "unsupported_parameter"),
    ({"echo": True}, 400, "echo", "unsupported_parameter"),
    ({"tools": [{"type": "function"}]}, 400, "tools", "unsupported_parameter"),
    ({"model": "nobody"}, 404, "model", "model_not_found"),
    ({"model": "law@sha256:00000000"}, 404, "model", "model_not_found"),
    ({"max_tokens": 100_000}, 400, "max_tokens", "context_length_exceeded"),
    ({"max_tokens": "many"}, 400, "max_tokens", "invalid_value"),
    ({"prompt": []}, 400, "prompt", "invalid_value"),
    ({"prompt": ["a", "b"]}, 400, "prompt", "unsupported_parameter"),
    ({"prompt": [5, 10**6]}, 400, "prompt", "invalid_value"),
    ({"prompt": list(range(300))}, 400, "prompt", "context_length_exceeded"),
    ({"stream_options": {"include_usage": True}}, 400, "stream_options", "invalid_value"),
    ({"model": "law", "adapters": [{"model": "law"}]}, 400, "adapters", "invalid_value"),
    ({"adapters": [{"model": "law"}, {"model": "law"}]}, 400, "adapters", "invalid_value"),
    ({"adapters": [{"model": "nobody"}]}, 404, "adapters.0.model", "model_not_found"),
    ({"adapters": [{"model": "base"}]}, 400, "adapters.0.model", "invalid_value"),
]


@pytest.mark.parametrize(
    ("change", "status", "param", "code"), REFUSED, ids=[str(r[0])[:50] for r in REFUSED]
)
def test_refusals_name_status_field_and_code(
    node: Live, change: dict[str, Any], status: int, param: str, code: str
) -> None:
    answer = node.http.post("/v1/completions", json={"model": "base", "prompt": PROMPT, **change})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["param"], error["code"]) == (param, code)
    assert error["message"]


BAD_MESSAGES = [
    (
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
        "messages.0.content.0",
    ),
    ([{"role": "assistant", "tool_calls": [{"id": "1"}]}], "messages.0.tool_calls"),
    ([{"role": "user", "content": None}], "messages.0.content"),
    ([{"role": "robot", "content": "x"}], "messages.0.role"),
]


@pytest.mark.parametrize(("messages", "param"), BAD_MESSAGES, ids=[b[1] for b in BAD_MESSAGES])
def test_messages_that_are_not_text_are_refused(node: Live, messages: list[Any], param: str) -> None:
    answer = node.http.post("/v1/chat/completions", json={"model": "base", "messages": messages})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def reasons(node: Live) -> dict[str, float]:
    """Return the refusals so far, by reason."""
    return {
        sample.labels["reason"]: sample.value
        for family in text_string_to_metric_families(node.http.get("/metrics").text)
        for sample in family.samples
        if sample.name == "olsim_refusals_total"
    }


def test_every_refusal_is_counted(node: Live) -> None:
    json_kind = {"content-type": "application/json"}
    large = b'{"model": "' + b"x" * (1 << 20) + b'"}'
    cases = [
        ("POST", "/v1/completions", {"content": b"{", "headers": json_kind}, "invalid_value"),
        ("POST", "/v1/completions", {"json": {"model": "base", "prompt": 1.5}}, "invalid_value"),
        ("GET", "/v1/usage?since=-1", {}, "invalid_value"),
        ("GET", "/v1/nothing", {}, "not_found"),
        ("GET", "/v1/completions", {}, "method_not_allowed"),
        ("POST", "/v1/completions", {"content": large, "headers": json_kind}, "body_too_large"),
        ("POST", "/v1/completions", {"content": iter([large]), "headers": json_kind}, "body_too_large"),
        ("POST", "/v1/adapters", {"headers": {"authorization": ""}}, "missing_api_key"),
    ]
    for method, path, sent, reason in cases:
        before = reasons(node)
        answer = node.http.request(method, path, **sent)
        assert answer.json()["error"]["code"] == reason
        after = reasons(node)
        assert after == {**before, reason: before.get(reason, 0) + 1}, (method, path)


def test_keys_and_scopes(node: Live) -> None:
    reader = node.key_of("reader", ("adapters:read",))
    cases = [
        ("GET", "/v1/models", None, 401),
        ("GET", "/v1/models", "olk_wrong", 401),
        ("GET", "/v1/models", reader, 403),
        ("GET", "/v1/adapters", reader, 200),
        ("DELETE", "/v1/adapters/law", reader, 403),
        ("GET", "/metrics", reader, 403),
        ("POST", "/v1/settlements", reader, 403),
        ("GET", "/v1/usage", reader, 403),
        ("GET", "/health", None, 200),
    ]
    for method, path, key, status in cases:
        headers = {"authorization": f"Bearer {key}" if key else ""}
        answer = node.http.request(method, path, headers=headers)
        assert answer.status_code == status, (method, path, answer.text)
        if status == 401:
            assert answer.headers["www-authenticate"] == "Bearer"


def test_quotas_answer_429_with_a_time(node: Live) -> None:
    key = node.key_of("poor", quota=Quota(requests_per_minute=1, tokens_per_day=None, concurrent=None))
    headers = {"authorization": f"Bearer {key}"}
    body = {"model": "base", "prompt": PROMPT, "max_tokens": 1}
    assert node.http.post("/v1/completions", json=body, headers=headers).status_code == 200
    refused = node.http.post("/v1/completions", json=body, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "quota_requests_per_minute")
    assert 1 <= int(refused.headers["retry-after"]) <= 60


@pytest.mark.parametrize("stream", [True, False])
def test_a_reader_that_hangs_up_frees_everything_and_is_billed(node: Live, stream: bool) -> None:
    service = node.node.backend.service  # type: ignore[attr-defined]
    before = node.node.log.size
    body = {"model": "law", "prompt": PROMPT, "max_tokens": 240, "temperature": 0, "ignore_eos": True}
    if stream:
        with node.http.stream("POST", "/v1/completions", json={**body, "stream": True}) as response:
            next(response.iter_lines())
    else:
        with pytest.raises(httpx2.TimeoutException):
            node.http.post("/v1/completions", json=body, timeout=0.02)
    wait_until(lambda: settled(node))
    assert service.in_flight == 0
    wait_until(lambda: node.node.log.size == before + 1)
    bill = next(node.node.bills.newest_of("house")).bill
    assert bill.tokens_out < 240
    assert blocks_in_use(node) == 0


def blocks_in_use(node: Live) -> int:
    engine = node.node.backend._engine  # type: ignore[attr-defined]
    return int(engine.stats().kv_blocks_used)


def test_openapi_declares_every_status_and_never_422(node: Live) -> None:
    description = node.http.get("/openapi.json").json()
    assert "422" not in json.dumps(description["paths"])
    chat = description["paths"]["/v1/chat/completions"]["post"]["responses"]
    assert {"200", "400", "401", "403", "404", "413", "429", "500", "503"} <= set(chat)
    assert "text/event-stream" in chat["200"]["content"]


def test_counters_of_a_scrape_are_there(node: Live) -> None:
    figures = node.metrics()
    for name in ("olsim_ttft_seconds_count", "olsim_itl_seconds_count", "olsim_step_adapters_count"):
        assert figures[name] > 0
    assert figures["olsim_open_requests"] == 0
    assert figures["olsim_refusals_total"] > 0
    assert {
        "olsim_kv_blocks_used",
        "olsim_queue_requests",
        "olsim_preemptions_total",
        "olsim_adapter_hits_total",
    } <= set(figures)


def test_threads_do_not_pile_up(node: Live) -> None:
    for _ in range(5):
        node.complete("law", PROMPT, max_tokens=1)
    before = threading.active_count()
    for _ in range(20):
        node.complete("law", PROMPT, max_tokens=1)
    time.sleep(0.05)
    assert threading.active_count() <= before + 2
