"""The Python client against a live node: every call, every kind of refusal, and servers that are no nodes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("fastapi", reason="needs the node extra (fastapi)")

from models.errors import InputError
from reference_node.access import Quota
from reference_node.adapters import CONFIG_FILE, WEIGHTS_FILE
from reference_node.client import UPLOAD_FILES, NodeClient, NodeError
from tests.node.api_world import OWNERS, adapter, wait_until
from tests.node.live_node import MESSAGES, Live, events, is_served, node_with_adapters, pretend, write_folder

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with node_with_adapters(tmp_path_factory.mktemp("node"), step_s=0.004) as one:
        yield one


@pytest.fixture(scope="module")
def client(node: Live) -> Iterator[NodeClient]:
    with NodeClient(node.url + "/", node.key) as one:
        yield one


def refusal(node: Live, key: str | None) -> NodeError:
    with pytest.raises(NodeError) as caught, NodeClient(node.url, key) as one:
        one.chat("law", MESSAGES, max_tokens=1)
    return caught.value


def test_models_and_adapters(client, node):
    assert client.models() == ["base", "law", "verse"]
    listed = {entry["alias"]: entry["sha256"] for entry in client.adapters()}
    assert listed == {alias: made.sha256 for alias, made in node.uploaded.items()}


@pytest.mark.parametrize("model", ["base", "law"])
def test_a_stream_says_what_the_whole_answer_says(client, node, model):
    whole = client.chat(model, MESSAGES, max_tokens=12, temperature=0)
    stream = client.stream_chat(model, MESSAGES, max_tokens=12, temperature=0)
    pieces = list(stream)
    served = () if model == "base" else (node.uploaded[model].sha256,)
    assert "".join(pieces) == stream.answer.text == whole.text != ""
    assert len(pieces) > 1
    for answer in (whole, stream.answer):
        assert (answer.model, answer.adapters, answer.finish) == (model, served, whole.finish)
        assert answer.fingerprint == "+".join((node.node.base_sha256[:12], *served))
        assert (answer.prompt_tokens, answer.completion_tokens) == (whole.prompt_tokens, 12)
        bill = next(bill for bill in client.bills() if bill["request_id"] == answer.request_id)
        assert (bill["tokens_in"], bill["tokens_out"]) == (answer.prompt_tokens, answer.completion_tokens)
        assert bill["cached_tokens"] == answer.cached_tokens
        assert type(answer.fee_gwei) is int
        assert bill["fee_gwei"] == answer.fee_gwei > 0
    assert whole.request_id != stream.answer.request_id


def test_completions_ensembles_and_seeds(client, node):
    whole = client.complete("law", "The river", max_tokens=6, temperature=0.8, seed=5)
    stream = client.stream_completion("law", "The river", max_tokens=6, temperature=0.8, seed=5)
    assert "".join(stream) == whole.text
    both = [{"model": "law", "weight": 0.5}, {"model": "verse", "weight": 0.5}]
    hashes = tuple(node.uploaded[alias].sha256 for alias in ("law", "verse"))
    assert client.complete("base", "The river", max_tokens=2, adapters=both).adapters == hashes
    pinned = f"law@sha256:{hashes[0][:8]}"
    assert client.complete(pinned, "The river", max_tokens=1).adapters == hashes[:1]


def test_leaving_a_stream_cancels_it_on_the_node_and_bills_what_was_served(client, node):
    stream = client.stream_chat("law", MESSAGES, max_tokens=200, ignore_eos=True)
    for _ in stream:
        assert is_served(node)
        break
    wait_until(lambda: not is_served(node))
    wait_until(lambda: client.bills(1)[0]["request_id"] == stream.answer.request_id)
    assert 1 <= client.bills(1)[0]["tokens_out"] < 200
    assert stream.answer.adapters == (node.uploaded["law"].sha256,)
    assert stream.answer.fee_gwei is None
    with pytest.raises(RuntimeError, match="a stream is read once"):
        list(stream)


def test_the_life_of_an_alias(client, node, tmp_path):
    first, second = adapter(11), adapter(12)
    one = client.upload("life", write_folder(first, tmp_path / "1"))
    two = client.upload("life", write_folder(second, tmp_path / "2", owner=None))
    assert [one["version"], two["version"]] == [1, 2]
    assert (one["manifest"]["owner"], two["manifest"]) == (OWNERS[0], None)
    assert client.complete("life", "a", max_tokens=1).adapters == (second.sha256,)
    assert client.rollback("life", first.sha256[:8])["sha256"] == first.sha256
    shown = {version["sha256"]: version["served"] for version in client.versions("life")}
    assert shown == {first.sha256: True, second.sha256: False}
    assert client.complete("life", "a", max_tokens=1).adapters == (first.sha256,)
    assert client.delete("life", second.sha256) == [second.sha256]
    assert client.delete("life") == [first.sha256]
    assert "life" not in client.models()


def test_usage_and_settlement(client, node):
    before = client.usage()
    answer = client.complete("verse", "a", max_tokens=3, ignore_eos=True)
    after = client.usage()
    assert after["tokens_out"] - before["tokens_out"] == 3
    assert after["fee_gwei"] - before["fee_gwei"] == answer.fee_gwei
    assert client.usage("key")["requests"] == client.usage("all")["requests"] == after["requests"]
    assert client.usage(since_ms=1 << 50)["requests"] == 0
    assert sum(bill["fee_gwei"] for bill in client.bills(1000)) == after["fee_gwei"]
    settled = client.settle()
    assert settled["settlement"]["epoch"] == 1
    assert int(settled["settlement"]["bills"]["fee_gwei"]) == after["fee_gwei"]


def test_refusals_say_status_field_and_code(client, node):
    missing, unknown = refusal(node, None), refusal(node, "olk_nobody")
    assert (missing.status, missing.kind, missing.code) == (401, "authentication_error", "missing_api_key")
    assert (unknown.status, unknown.code) == (401, "invalid_api_key")
    assert refusal(node, node.key_of("reader", ("adapters:read",))).status == 403
    cases = (
        (404, "model", "model_not_found", lambda: client.chat("nobody", MESSAGES)),
        (404, "model", "model_not_found", lambda: list(client.stream_chat("nobody", MESSAGES))),
        (404, "alias", "model_not_found", lambda: client.versions("nobody")),
        (400, "n", "unsupported_parameter", lambda: client.chat("base", MESSAGES, n=2)),
        (400, "temperature", "invalid_value", lambda: client.chat("base", MESSAGES, temperature=3.0)),
        (413, None, "body_too_large", lambda: client.complete("base", "a" * (1 << 20))),
    )
    for status, param, code, ask in cases:
        with pytest.raises(NodeError) as caught:
            ask()
        assert (caught.value.status, caught.value.param, caught.value.code) == (status, param, code)
        assert str(caught.value).startswith(f"{status}: ")
        assert caught.value.retry_after_s is None


def test_a_used_up_quota_says_when_to_come_back(node):
    poor = node.key_of("poor", quota=Quota(requests_per_minute=1, tokens_per_day=None, concurrent=None))
    with NodeClient(node.url, poor) as one:
        one.chat("base", MESSAGES, max_tokens=1)
        for ask in (one.chat, lambda *asked: list(one.stream_chat(*asked))):
            with pytest.raises(NodeError, match=r"429: .* \(try again in \d+ s\)") as limited:
                ask("base", MESSAGES)
            assert 1 <= limited.value.retry_after_s <= 60


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "127.0.0.1:9", "ftp://127.0.0.1"])
def test_a_node_that_is_not_there(url):
    with NodeClient(url) as one:
        for ask in (one.models, lambda: list(one.stream_chat("base", MESSAGES))):
            with pytest.raises(NodeError, match="cannot reach the node at") as caught:
                ask()
            assert caught.value.status == 0


def test_an_address_that_is_none():
    with pytest.raises(InputError, match="is no address of a node"):
        NodeClient("http://127.0.0.1:eight")


CHUNK = {"model": "base", "choices": [{"index": 0, "text": "half", "finish_reason": None}]}
FAILED = {
    "error": {"message": "engine died", "type": "server_error", "param": None, "code": "generation_failed"}
}


@pytest.mark.parametrize(
    ("reply", "status", "message"),
    [
        (events(CHUNK), 0, "broke the answer off"),
        (events(CHUNK, FAILED), 500, "engine died"),
        (events(CHUNK, {"error": "died"}), 500, "died"),
        ((200, {"content-type": "text/html"}, b"<p>"), 0, "text/event-stream"),
        ((502, {"retry-after": "Mon, 01 Jan 2035 00:00:00 GMT"}, b"bad gateway"), 502, "bad gateway"),
        ((500, {}, b""), 500, "Internal Server Error"),
        ((503, {"retry-after": "7"}, b'{"error": "full"}'), 503, r"full \(try again in 7 s\)"),
    ],
    ids=["cut", "failed", "failed in words", "no stream", "proxy", "empty", "plain"],
)
def test_streams_that_end_badly(reply, status, message):
    with pretend(lambda path, body: reply) as url, NodeClient(url) as one:
        stream = one.stream_completion("base", "a")
        with pytest.raises(NodeError, match=message) as caught:
            list(stream)
        assert caught.value.status == status
        assert stream.answer.text == ("half" if b"half" in reply[2] else "")


@pytest.mark.parametrize("content", [b"<html>", b"[]"])
def test_a_server_that_is_no_node(content):
    with (
        pretend(lambda path, body: (200, {}, content)) as url,
        NodeClient(url) as one,
        pytest.raises(NodeError, match="does not answer like a node"),
    ):
        one.models()


def test_a_folder_without_its_files_is_named(client, tmp_path):
    with pytest.raises(InputError, match=r"adapter_model\.safetensors: cannot be read: No such file"):
        client.upload("x", tmp_path)


def test_the_client_needs_no_torch():
    code = "import sys, reference_node.client; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert (UPLOAD_FILES["weights"], UPLOAD_FILES["config"]) == (WEIGHTS_FILE, CONFIG_FILE)
