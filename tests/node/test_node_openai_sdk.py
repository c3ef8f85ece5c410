"""The unmodified openai Python SDK against a live node."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("fastapi", reason="needs the node extra (fastapi)")
pytest.importorskip("openai", reason="needs the dev extra (openai)")

import openai

from reference_node.access import Quota
from tests.node.api_world import Live, adapter, live, make_base, small, wait_until

pytestmark = pytest.mark.node

MESSAGES = [{"role": "user", "content": "What flows through Bern?"}]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    base = make_base(tmp_path_factory.mktemp("base"))
    with live(small(base, tmp_path_factory.mktemp("data"))) as one:
        one.upload("law", adapter(2))
        yield one


@pytest.fixture(scope="module")
def client(node: Live) -> Iterator[openai.OpenAI]:
    with connect(node, node.key) as one:
        yield one


def connect(node: Live, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{node.url}/v1", api_key=key, max_retries=0, timeout=20)


def test_models(client: openai.OpenAI, node: Live) -> None:
    assert [model.id for model in client.models.list()] == ["base", "law"]
    assert client.models.retrieve("law").id == "law"


def test_chat(client: openai.OpenAI, node: Live) -> None:
    answer = client.chat.completions.create(model="law", messages=MESSAGES, max_tokens=8, temperature=0)
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens_details.cached_tokens >= 0
    assert answer.system_fingerprint.endswith(node.uploaded["law"].sha256)
    assert answer.bill["fee_gwei"] > 0


def test_chat_stream_with_usage(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="law", messages=MESSAGES, max_tokens=12, temperature=0)
    stream = client.chat.completions.create(
        model="law",
        messages=MESSAGES,
        max_tokens=12,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    first, *middle, usage = list(stream)
    assert first.choices[0].delta.role == "assistant"
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in middle) == whole.choices[0].message.content
    )
    assert middle[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert usage.choices == []
    assert usage.usage.completion_tokens == whole.usage.completion_tokens
    assert usage.bill["request_id"] == usage.id.removeprefix("chatcmpl-")


def test_the_sdk_stream_helper_assembles_the_same_answer(client: openai.OpenAI) -> None:
    settings = {"model": "law", "messages": MESSAGES, "max_tokens": 12, "temperature": 0}
    text = client.chat.completions.create(**settings).choices[0].message.content
    # the helper takes an answer that max_tokens cut for a failure
    settings["stop"] = text[len(text) // 2 : len(text) // 2 + 2]
    whole = client.chat.completions.create(**settings)
    with client.chat.completions.stream(**settings) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == whole.choices[0].message.content
    assert final.choices[0].finish_reason == whole.choices[0].finish_reason


def test_completions_and_raw_headers(client: openai.OpenAI, node: Live) -> None:
    raw = client.completions.with_raw_response.create(model="law", prompt="The river", max_tokens=4)
    assert raw.headers["x-olsim-adapter"] == node.uploaded["law"].sha256
    answer = raw.parse()
    assert answer.usage.completion_tokens <= 4
    assert answer._request_id == raw.headers["x-request-id"]


def test_an_ensemble_through_extra_body(client: openai.OpenAI, node: Live) -> None:
    extra = {"adapters": [{"model": "law", "weight": 0.5}]}
    answer = client.chat.completions.create(model="base", messages=MESSAGES, max_tokens=2, extra_body=extra)
    assert answer.system_fingerprint.endswith(f"+{node.uploaded['law'].sha256}@0.5")


def test_error_classes(client: openai.OpenAI, node: Live) -> None:
    ask = {"messages": MESSAGES, "max_tokens": 1}
    with pytest.raises(openai.AuthenticationError) as unknown, connect(node, "olk_nobody") as stranger:
        stranger.chat.completions.create(model="base", **ask)
    assert unknown.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="nobody", **ask)
    assert (missing.value.param, missing.value.code) == ("model", "model_not_found")
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model="base", n=2, **ask)
    assert bad.value.param == "n"
    reader = node.key_of("reader", ("adapters:read",))
    with pytest.raises(openai.PermissionDeniedError), connect(node, reader) as one:
        one.models.list()
    poor = node.key_of("poor", quota=Quota(requests_per_minute=1, tokens_per_day=None, concurrent=None))
    with connect(node, poor) as one:
        one.chat.completions.create(model="base", **ask)
        with pytest.raises(openai.RateLimitError) as limited:
            one.chat.completions.create(model="base", **ask)
    assert int(limited.value.response.headers["retry-after"]) >= 1


@pytest.mark.parametrize("how", ["close", "leave the block"])
def test_closing_a_stream_cancels_the_request(client: openai.OpenAI, node: Live, how: str) -> None:
    settled = node.node.log.size
    extra = {"ignore_eos": True}
    stream = client.chat.completions.create(
        model="law", messages=MESSAGES, max_tokens=220, stream=True, extra_body=extra
    )
    next(iter(stream))
    if how == "close":
        stream.close()
    else:
        with stream:
            next(iter(stream))
    wait_until(lambda: node.node.open_requests == 0 and node.node.log.size == settled + 1)
    wait_until(lambda: node.node.backend.service.in_flight == 0)
    assert next(node.node.bills.newest_of("house")).bill.tokens_out < 220
