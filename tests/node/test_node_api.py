"""The interface over a live node: answers, streams, refusals, adapters, accounts."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("fastapi", reason="needs the node extra (fastapi)")

sys.path.insert(0, str(Path(__file__).parent))
from api_world import OWNERS, Live, Reference, adapter, live, make_base, small, upload_parts, wait_until

from reference_node.access import Quota
from reference_node.manifest import AdapterManifest, ContributorShare, DataNetShare

pytestmark = pytest.mark.node

PROMPT = "The river Aar"
MANIFEST = AdapterManifest(
    OWNERS[0], (DataNetShare("law", 10_000, (ContributorShare("ana", OWNERS[1], 10_000),)),)
).to_json()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def reference(base: Path) -> Reference:
    return Reference(base)


@pytest.fixture(scope="module")
def node(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(small(base, tmp_path_factory.mktemp("data"))) as one:
        one.upload("medicine", adapter(1), MANIFEST)
        one.upload("law", adapter(2))
        yield one


def ids(node: Live, text: str = PROMPT) -> list[int]:
    return node.node.codec.prompt(text)


def events(response: Any) -> list[dict[str, Any]]:
    """Return the events of a stream, checking its frame and its end."""
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = response.text.split("\n\n")
    assert blocks[-2:] == ["data: [DONE]", ""]
    assert all(block.startswith("data: {") for block in blocks[:-2])
    return [json.loads(block[6:]) for block in blocks[:-2]]


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
    assert answer.headers["x-olsim-adapter"] == f"{one.sha256}, {other.sha256}"
    assert answer.json()["system_fingerprint"].split("+")[1:] == [one.sha256, other.sha256]
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


def test_bodies_that_are_no_json_and_paths_that_are_none(node: Live) -> None:
    headers = {"content-type": "application/json"}
    for content in (b"{", b"[" * 100_000, b'"x"', b"", b'{"model": "\\ud800", "prompt": "\\ud800"}'):
        answer = node.http.post("/v1/completions", content=content, headers=headers)
        assert answer.status_code == 400, content[:20]
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert node.http.get("/v1/nothing").json()["error"]["code"] == "not_found"
    assert node.http.get("/v1/completions").status_code == 405
    assert node.http.get("/v1/completions").json()["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_refused(node: Live, announced: bool) -> None:
    content = b'{"model": "' + b"x" * (1 << 20) + b'"}'
    pieces = (content[i : i + 65536] for i in range(0, len(content), 65536))
    headers = {"content-type": "application/json"}
    answer = node.http.post("/v1/completions", content=content if announced else pieces, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


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


def test_models_and_adapters_are_listed_with_who_is_paid(node: Live) -> None:
    models = node.http.get("/v1/models").json()
    assert [entry["id"] for entry in models["data"]][:3] == ["base", "law", "medicine"]
    assert node.http.get("/v1/models/law").json()["sha256"] == node.uploaded["law"].sha256
    assert node.http.get("/v1/models/nobody").status_code == 404
    listed = {entry["alias"]: entry for entry in node.http.get("/v1/adapters").json()["data"]}
    assert listed["medicine"]["manifest"]["owner"] == OWNERS[0]
    assert listed["medicine"]["manifest"]["datanets"][0]["contributors"][0]["address"] == OWNERS[1]
    assert listed["law"]["manifest"] is None
    assert listed["law"]["versions"] == [node.uploaded["law"].sha256]


def test_bad_uploads_are_refused_with_reasons(node: Live) -> None:
    parts = upload_parts(adapter(5))
    cases = [
        ("Not An Alias", parts, 400),
        ("base", parts, 400),
        ("x", {**parts, "weights": ("w", b"\x80\x02cpickle")}, 400),
        ("x", {**parts, "config": ("c", b"{}")}, 400),
        ("x", {"config": parts["config"]}, 400),
        ("x", {**parts, "manifest": ("m", b"{}")}, 400),
    ]
    for alias, files, status in cases:
        answer = node.http.post("/v1/adapters", data={"alias": alias}, files=files)
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["message"]
    assert "x" not in [entry["alias"] for entry in node.http.get("/v1/adapters").json()["data"]]


def test_an_alias_belongs_to_its_tenant(node: Live) -> None:
    key = node.key_of("stranger", ("adapters:write", "adapters:read"))
    headers = {"authorization": f"Bearer {key}"}
    answer = node.http.post(
        "/v1/adapters", data={"alias": "law"}, files=upload_parts(adapter(6)), headers=headers
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_owner")
    assert node.http.delete("/v1/adapters/law", headers=headers).status_code == 403
    body = {"sha256": node.uploaded["law"].sha256}
    assert node.http.post("/v1/adapters/law/rollback", json=body, headers=headers).status_code == 403


def test_versions_rollback_and_deletion(node: Live, reference: Reference) -> None:
    first, second = adapter(11), adapter(12)
    node.upload("trade", first)
    node.upload("trade", second)

    def said(model: str = "trade") -> tuple[str, str]:
        answer = node.complete(model, PROMPT, max_tokens=8)
        return answer.headers["x-olsim-adapter"], answer.json()["choices"][0]["text"]

    expected = {made.sha256: reference.text(ids(node), made, 8) for made in (first, second)}
    assert said() == (second.sha256, expected[second.sha256])
    assert said(f"trade@sha256:{first.sha256[:8]}") == (first.sha256, expected[first.sha256])
    rolled = node.http.post("/v1/adapters/trade/rollback", json={"sha256": first.sha256[:12]})
    assert rolled.json()["version"] == 1
    assert said() == (first.sha256, expected[first.sha256])
    found = node.http.get("/v1/adapters/trade").json()["data"]
    assert [(v["version"], v["served"]) for v in found] == [(1, True), (2, False)]
    assert node.http.delete(f"/v1/adapters/trade?sha256={first.sha256}").json()["deleted"] == [first.sha256]
    assert said() == (second.sha256, expected[second.sha256])
    assert node.http.delete("/v1/adapters/trade").json()["deleted"] == [second.sha256]
    assert node.complete("trade", PROMPT).status_code == 404
    assert node.http.delete("/v1/adapters/trade").status_code == 404


def slow(node: Live, model: str, count: int = 200) -> Any:
    """Return an open stream that has begun."""
    body = {"model": model, "prompt": PROMPT, "max_tokens": count, "stream": True, "temperature": 0}
    return node.http.stream("POST", "/v1/completions", json={**body, "ignore_eos": True})


def test_an_alias_that_changes_during_a_stream_changes_nothing_in_it(
    node: Live, reference: Reference
) -> None:
    first, second = adapter(21), adapter(22)
    node.upload("moving", first)
    reference.codec.eos_ids, eos = (), reference.codec.eos_ids
    expected = reference.text(ids(node), first, 200)
    reference.codec.eos_ids = eos
    with slow(node, "moving") as response:
        lines = response.iter_lines()
        seen = [next(lines)]
        node.upload("moving", second)
        node.http.delete(f"/v1/adapters/moving?sha256={first.sha256}")
        newer = node.complete("moving", PROMPT, max_tokens=4)
        seen += list(lines)
        assert response.headers["x-olsim-adapter"] == first.sha256
    assert newer.headers["x-olsim-adapter"] == second.sha256
    chunks = [json.loads(line[6:]) for line in seen if line.startswith("data: {")]
    assert "".join(c["choices"][0]["text"] for c in chunks) == expected
    wait_until(lambda: not node.node.registry.folder(first.sha256).exists())
    pool = node.node.backend._engine.pool  # type: ignore[attr-defined]
    wait_until(lambda: not pool.knows(first.sha256))


def settled(node: Live) -> bool:
    figures = node.node.backend.service.in_flight  # type: ignore[attr-defined]
    return figures == 0 and node.node.open_requests == 0


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


def test_many_adapters_at_once_each_say_their_own(node: Live, reference: Reference) -> None:
    made = {f"many{i}": adapter(100 + i) for i in range(6)}  # more than slots
    for alias, one in made.items():
        node.upload(alias, one)
    expected = {alias: reference.text(ids(node), one, 16) for alias, one in made.items()}

    def ask(alias: str) -> tuple[str, str]:
        if hash(alias) % 2:
            return alias, node.complete(alias, PROMPT, max_tokens=16).json()["choices"][0]["text"]
        chunks = events(node.complete(alias, PROMPT, max_tokens=16, stream=True))
        return alias, "".join(c["choices"][0]["text"] for c in chunks)

    with ThreadPoolExecutor(12) as threads:
        for alias, text in threads.map(ask, list(made) * 5):
            assert text == expected[alias]


def test_log_usage_metrics_and_bills_say_the_same(node: Live) -> None:
    answers = [node.complete("medicine", PROMPT, max_tokens=n).json() for n in (1, 2, 3)]
    wait_until(lambda: settled(node))
    figures, used = node.metrics(), node.http.get("/v1/usage?scope=all").json()
    assert figures["olsim_requests_total"] == used["requests"] == node.node.log.size
    assert figures["olsim_prompt_tokens_total"] == used["tokens_in"]
    assert figures["olsim_completion_tokens_total"] == used["tokens_out"]
    assert figures["olsim_cached_tokens_total"] == used["cached_tokens"]
    assert figures["olsim_fees_gwei_total"] == used["fee_gwei"]
    assert sum(one["tokens_out"] for one in used["by_adapter"].values()) == used["tokens_out"]
    bills = node.http.get("/v1/billing?limit=1000").json()
    newest = {bill["request_id"]: bill for bill in bills["data"]}
    for answer in answers:
        bill = newest[answer["bill"]["request_id"]]
        assert bill["fee_gwei"] == answer["bill"]["fee_gwei"] == sum(bill["parts_gwei"].values())
        assert bill["tokens_out"] == answer["usage"]["completion_tokens"]
        assert bill["tokens_in"] == answer["usage"]["prompt_tokens"]
        assert bill["cached_tokens"] == answer["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert node.http.get("/v1/billing?limit=1").json()["has_more"] is True


def test_a_tenant_sees_its_own_use_alone(node: Live) -> None:
    key = node.key_of("tenant-b", ("inference", "usage:read"))
    headers = {"authorization": f"Bearer {key}"}
    body = {"model": "law", "prompt": PROMPT, "max_tokens": 2}
    answer = node.http.post("/v1/completions", json=body, headers=headers).json()
    wait_until(lambda: settled(node))
    used = node.http.get("/v1/usage", headers=headers).json()
    assert (used["requests"], used["tenant"]) == (1, "tenant-b")
    assert list(used["by_adapter"]) == [node.uploaded["law"].sha256]
    bills = node.http.get("/v1/billing", headers=headers).json()["data"]
    assert [bill["request_id"] for bill in bills] == [answer["bill"]["request_id"]]
    assert node.http.get("/v1/usage?scope=all", headers=headers).status_code == 403


def test_an_epoch_settles_what_was_billed(node: Live) -> None:
    node.complete("medicine", PROMPT, max_tokens=2)
    wait_until(lambda: settled(node))
    answer = node.http.post("/v1/settlements")
    assert answer.status_code == 200, answer.text
    document = answer.json()["settlement"]
    assert int(document["bills"]["fee_gwei"]) > 0
    assert (node.node.epochs / answer.json()["file"]).is_file()
    assert OWNERS[0] in [payee["address"] for payee in document["payees"]]


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
    assert {"olsim_kv_blocks_used", "olsim_queue_requests", "olsim_preemptions"} <= set(figures)


def test_threads_do_not_pile_up(node: Live) -> None:
    for _ in range(5):
        node.complete("law", PROMPT, max_tokens=1)
    before = threading.active_count()
    for _ in range(20):
        node.complete("law", PROMPT, max_tokens=1)
    time.sleep(0.05)
    assert threading.active_count() <= before + 2
