"""`olsim node bench --endpoint`: a live node measured from outside, a vLLM-like server, and servers that cannot be."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("fastapi", reason="needs the node extra (fastapi)")

import httpx2

from models.errors import InputError
from reference_node.bench.endpoint import EndpointPlan, measure_endpoint
from reference_node.bench.streams import Served, Streams
from reference_node.cli import app
from reference_node.profile import Profile
from reference_node.profile_file import read_profile, write_profile
from sim.serving.profile import read_profile as read_for_the_economy
from tests.node.live_node import Reply, events, node_with_adapters, pretend

pytestmark = pytest.mark.node

SMALL = EndpointPlan("", "base", batches=(1, 2), contexts=(8, 16), output_tokens=7, repeats=1, requests=4)
STREAM = {"content-type": "text/event-stream"}


def measure(url: str, progress: Callable[[str], None] = lambda message: None, **changes: Any) -> Profile:
    return measure_endpoint(replace(SMALL, url=url, **changes), "the command", progress)


def vllm(body: dict[str, Any], together: int = 3, sleep_s: float = 0.002) -> Reply:
    """Answer like vLLM: several tokens in a chunk, `usage: null` until the chunk without choices."""
    head = {"id": "cmpl-7", "object": "text_completion", "created": 1_760_000_000, "model": body["model"]}
    prompt, output = len(body["prompt"].split()) // 2, body["max_tokens"]

    def stream() -> Iterator[bytes]:
        for first in range(0, output, together):
            time.sleep(sleep_s)
            left = output - first
            text = " a" * min(together, left) if first else ""  # the first token may be a part of a character
            choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": None, "stop_reason": None}
            finish = {"finish_reason": "length"} if left <= together else {}
            ids = {"token_ids": [5] * min(together, left)} if body.get("return_token_ids") else {}
            yield _event({**head, "choices": [{**choice, **finish, **ids}], "usage": None})
        usage = {"prompt_tokens": prompt, "total_tokens": prompt + output, "completion_tokens": output}
        yield _event({**head, "choices": [], "usage": usage})
        yield b"data: [DONE]\n\n"

    return 200, STREAM, stream()


def _event(document: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(document)}\n\n".encode()


def test_our_own_node(tmp_path):
    with node_with_adapters(tmp_path / "node", step_s=0.001) as node:
        line = [
            "bench",
            "--endpoint",
            node.url,
            "--adapter",
            "law",
            "--adapter",
            "verse",
            "--rank",
            "4",
            "--quick",
        ]
        out = tmp_path / "profile.json"
        said = CliRunner().invoke(app, [*line, "--out", str(out), "--json"], env={"OLSIM_NODE_KEY": node.key})
        assert said.exit_code == 0, said.output
        billed = node.node.bills.newest_of("house")
        assert sum(kept.bill.tokens_out for kept in billed) > 0
    profile = read_profile(out)
    assert json.loads(said.stdout)["sha256"] == profile.provenance.sha256
    assert (profile.device.kind, profile.device.name, profile.device.measured_flops) == (
        "endpoint",
        node.url,
        None,
    )
    assert profile.provenance.measured
    assert node.key not in out.read_text(encoding="utf-8")
    assert (profile.mixed, profile.software.clock) == ([], "wall")
    assert {row.distinct_adapters: row.rank for row in profile.decode} == {0: 0, 1: 4, 2: 4}
    assert all(row.tok_s > 0 and row.fraction_of_roofline is None for row in profile.decode)
    rate = {batch: [row.tok_s for row in profile.decode if row.batch == batch] for batch in (1, 4)}
    assert max(rate[4]) > max(rate[1])
    assert [(row.holdout, row.completed, row.failed) for row in profile.serving] == [
        (False, 24, 0),
        (True, 24, 0),
        (True, 24, 0),
    ]
    assert all(row.output_tokens == 16 for row in profile.serving)
    assert read_for_the_economy(out).device_kind == "endpoint"


def test_a_vllm_like_server_is_measured_in_its_own_tokens(tmp_path):
    asked: list[dict[str, Any]] = []

    def reply(path: str, body: dict[str, Any]) -> Reply:
        assert path == "/v1/completions"
        asked.append(body)
        return vllm(body)

    with pretend(reply) as url:
        profile = measure(url, model="org/model", adapters=("a",))
    assert {body["model"] for body in asked} == {"org/model", "a"}
    assert len({body["prompt"] for body in asked}) == len(asked)
    assert all(body["ignore_eos"] and body["stream_options"] == {"include_usage": True} for body in asked)
    assert {(row.tokens, row.batch) for row in profile.prefill} == set(itertools.product((8, 16), (1, 2)))
    assert {row.context for row in profile.decode} == {8 + 4, 16 + 4}
    assert all(row.step_ms_p50 > 0 for row in profile.decode)
    assert all((row.input_tokens, row.output_tokens) == (8, 7) for row in profile.serving)
    write_profile(profile, tmp_path / "profile.json")
    assert read_profile(tmp_path / "profile.json").model.arch == "org/model"


def test_time_between_tokens_is_by_tokens_and_not_by_chunks():
    served = Served(sent_s=1.0, times_s=[1.5, 1.75, 2.0], prompt_tokens=9, output_tokens=11)
    assert (served.ttft_ms, served.itl_ms) == (500.0, 50.0)
    assert replace(served, first_tokens=6).itl_ms == 100.0
    assert Served(sent_s=1.0, times_s=[1.5], output_tokens=1).itl_ms == 0.0


@pytest.mark.parametrize("with_ids", [False, True])
def test_the_tokens_of_a_stream_are_the_servers_count(with_ids):
    def reply(path: str, body: dict[str, Any]) -> Reply:
        return vllm({**body, "return_token_ids": with_ids and body["return_token_ids"]})

    async def ask(url: str) -> Served:
        async with httpx2.AsyncClient(base_url=url) as http:
            return await Streams(http, url, "base").one("base", 12, 8)

    with pretend(reply) as url:
        served = asyncio.run(ask(url))
    assert (served.prompt_tokens, served.output_tokens, len(served.times_s), served.error) == (6, 8, 3, "")
    assert served.first_tokens == (3 if with_ids else 1)


def test_requests_that_fail_under_load_are_counted():
    loaded = []

    def reply(path: str, body: dict[str, Any]) -> Reply:
        loaded.append("serving" in told[-1])
        return (429, {}, b"") if loaded[-1] and sum(loaded) % 2 else vllm(body)

    told: list[str] = []
    with pretend(reply) as url:
        profile = measure(url, told.append)
    assert [(row.completed, row.failed) for row in profile.serving] == [(2, 2)] * 3
    assert all(row.adapters == 0 for row in profile.serving)


def test_a_server_that_refuses_all_load_is_an_error():
    told: list[str] = []
    full = 429, {}, b'{"error": {"message": "full"}}'
    with (
        pretend(lambda path, body: full if "serving" in told[-1] else vllm(body)) as url,
        pytest.raises(InputError, match="every request of an open-loop run failed: status 429: full"),
    ):
        measure(url, told.append)


CHUNK = {"choices": [{"index": 0, "text": " a", "finish_reason": None}]}
USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}
NO_SERVER = "does not answer like an OpenAI-compatible server"


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (events(CHUNK, CHUNK, "[DONE]"), "reports no token usage in streams; chunks are not tokens"),
        (events(CHUNK, {**CHUNK, "usage": None}, "[DONE]"), "reports no token usage"),
        (events(USAGE, "[DONE]"), NO_SERVER),
        (events("[DONE]"), NO_SERVER),
        (events("not JSON"), NO_SERVER),
        (events("[1]"), NO_SERVER),
        (events({"choices": [], "usage": 5}), NO_SERVER),
        ((200, {"content-type": "text/html"}, b"<html>"), NO_SERVER),
        (events(CHUNK, {"error": {"message": "out of memory"}}), ": out of memory"),
        ((401, {}, b'{"error": {"message": "no key"}}'), "status 401: no key"),
        ((404, {}, b'{"error": "no such model"}'), "status 404: no such model"),
        ((500, {}, b"<html>oops"), "status 500: <html>oops"),
        ((200, {**STREAM, "content-length": "9999"}, events(CHUNK)[2]), "cannot be reached: "),
        (events(CHUNK, USAGE, "[DONE]"), "sends whole answers in one chunk"),
    ],
)
def test_servers_that_cannot_be_measured(reply, message):
    with pretend(lambda path, body: reply) as url, pytest.raises(InputError) as caught:
        measure(url)
    assert str(caught.value).startswith(url)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [("http://127.0.0.1:9", "cannot be reached: "), ("http://127.0.0.1:nine", "is no address of a server")],
)
def test_a_server_that_is_not_there(url, message):
    with pytest.raises(InputError, match=message):
        measure(url)


def test_settings_that_say_nothing_are_refused_together():
    with pytest.raises(InputError) as caught:
        EndpointPlan(
            "http://me:secret@x", "base", batches=(2, 2), contexts=(), output_tokens=1, repeats=0, requests=1
        )
    assert len(caught.value.problems) == 6
    assert "secret" not in str(caught.value)
    said = CliRunner().invoke(app, ["bench", "--quick", "--out", "x.json"])
    assert "--endpoint URL" in str(said.exception)
