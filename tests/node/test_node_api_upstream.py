"""The same interface in front of another server: our own node, and servers that speak as vLLM and LoRAX do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("fastapi", reason="needs the node extra (fastapi)")

from models.errors import InputError
from reference_node.request import AdapterUse, Sampling
from reference_node.serve.backend import BusyError, Job, Piece, UpstreamError
from reference_node.serve.node import Node
from reference_node.serve.upstream import UpstreamBackend
from reference_node.tokenizer import TextCodec
from tests.node.api_world import Live, Reference, adapter, live, make_base, small, wait_until

pytestmark = pytest.mark.node

PROMPT = "The river Aar"
HASH = "ab" * 32
BASE = "cd" * 32


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def behind(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(small(base, tmp_path_factory.mktemp("behind"), auth=False)) as one:
        yield one


@pytest.fixture(scope="module")
def front(base: Path, behind: Live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(small(base, tmp_path_factory.mktemp("front"), upstream=behind.url)) as one:
        one.upload("law", adapter(2))
        yield one


def names(node: Live) -> list[str]:
    return [entry["id"] for entry in node.http.get("/v1/models").json()["data"]]


def test_answers_are_those_of_the_engine_behind(front: Live, behind: Live, base: Path) -> None:
    reference = Reference(base)
    prompt = reference.codec.prompt(PROMPT)
    for model, made in (("base", None), ("law", front.uploaded["law"])):
        text = reference.text(prompt, made, 12)
        whole = front.complete(model, PROMPT, max_tokens=12)
        assert whole.status_code == 200, whole.text
        body = whole.json()
        assert body["choices"][0]["text"] == text
        assert whole.headers["x-olsim-adapter"] == (made.sha256 if made else "base")
        assert body["usage"]["completion_tokens"] == len(reference.tokens(prompt, made, 12))
        assert body["bill"]["fee_gwei"] > 0
        streamed = front.complete(model, PROMPT, max_tokens=12, stream=True).text
        chunks = [json.loads(block[6:]) for block in streamed.split("\n\n")[:-2]]
        assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == text


def test_adapters_have_their_hash_as_name_behind(front: Live, behind: Live) -> None:
    first, second = adapter(31), adapter(32)
    front.upload("moving", first)
    front.upload("moving", second)
    assert {first.sha256, second.sha256} <= set(names(behind))
    assert front.complete("moving", PROMPT).headers["x-olsim-adapter"] == second.sha256
    assert "moving" not in names(behind)
    front.http.delete("/v1/adapters/moving")
    wait_until(lambda: not {first.sha256, second.sha256} & set(names(behind)))
    assert front.complete("moving", PROMPT).status_code == 404


def test_an_upstream_that_forgot_an_adapter_is_told_again(front: Live, behind: Live) -> None:
    behind.http.delete(f"/v1/adapters/{front.uploaded['law'].sha256}")
    assert front.complete("law", PROMPT, max_tokens=2).status_code == 200


def test_leaving_in_front_cancels_behind(front: Live, behind: Live) -> None:
    body = {"model": "law", "prompt": PROMPT, "max_tokens": 200, "ignore_eos": True, "stream": True}
    with front.http.stream("POST", "/v1/completions", json=body) as response:
        next(response.iter_lines())
        assert behind.node.open_requests == 1
    wait_until(lambda: behind.node.open_requests == 0 and front.node.open_requests == 0)
    assert next(front.node.bills.newest_of("house")).bill.tokens_out < 200


def test_an_ensemble_is_refused(front: Live) -> None:
    answer = front.complete("base", PROMPT, adapters=[{"model": "law", "weight": 0.5}])
    assert (answer.status_code, "ensembles" in answer.json()["error"]["message"]) == (400, True)


def test_an_upstream_that_is_gone_is_503_and_comes_back(base: Path, tmp_path: Path) -> None:
    with live(small(base, tmp_path / "behind", auth=False)) as behind:
        options = small(base, tmp_path / "front", upstream=behind.url)
        with live(options) as front:
            assert front.complete("base", PROMPT).status_code == 200
            behind.server.should_exit = True
            wait_until(lambda: front.complete("base", PROMPT).status_code == 503)
            refused = front.complete("base", PROMPT)
            assert refused.json()["error"]["code"] == "engine_dead"
            assert int(refused.headers["retry-after"]) >= 1
            assert front.http.get("/health").status_code == 503


class Server:
    """A server as vLLM or LoRAX answers: models, adapters by name and path, completions as events."""

    def __init__(self, *, runtime_loras: bool = True) -> None:
        self.loras: dict[str, str] = {}
        self.calls: list[tuple[str, Any]] = []
        self.runtime_loras = runtime_loras
        self.status, self.headers = 200, {}
        self.chunks: list[dict[str, Any] | str] = [
            {"choices": [{"text": "He", "token_ids": [7], "finish_reason": None}]},
            {"choices": [{"text": "llo", "token_ids": [8, 9], "finish_reason": "length"}]},
            {"choices": [], "usage": {"prompt_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}},
            "[DONE]",
        ]

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content) if request.content else None
        self.calls.append((request.url.path, body))
        match request.url.path:
            case "/v1/models":
                card = {"id": "meta-llama/Llama-3.1-8B", "parent": None, "max_model_len": 100}
                return httpx2.Response(200, json={"object": "list", "data": [card]})
            case "/openapi.json":
                paths = {"/v1/load_lora_adapter": {}} if self.runtime_loras else {}
                return httpx2.Response(200, json={"paths": {"/v1/completions": {}, **paths}})
            case "/v1/load_lora_adapter":
                return self.load(body["lora_name"], body["lora_path"])
            case "/v1/unload_lora_adapter":
                name = body["lora_name"]
                self.loras.pop(name)
                return httpx2.Response(200, text=f"Success: LoRA adapter '{name}' removed successfully.")
            case _:
                return self.complete(body)

    def load(self, name: str, path: str) -> httpx2.Response:
        if name in self.loras:
            message = f"The lora adapter '{name}' has already been loaded."
            error = {"message": message, "type": "InvalidUserInput", "param": None, "code": 400}
            return httpx2.Response(400, json={"error": error})
        self.loras[name] = path
        return httpx2.Response(200, text=f"Success: LoRA adapter '{name}' added successfully.")

    def complete(self, body: Any) -> httpx2.Response:
        known = {"meta-llama/Llama-3.1-8B", *self.loras}
        if self.status != 200 or (self.runtime_loras and body["model"] not in known):
            status = self.status if self.status != 200 else 404
            error = {"message": "no", "type": "NotFoundError", "param": None, "code": status}
            return httpx2.Response(status, json={"error": error})
        lines = [chunk if isinstance(chunk, str) else json.dumps(chunk) for chunk in self.chunks]
        content = "".join(f"data: {line}\n\n" for line in lines)
        headers = {"content-type": "text/event-stream", **self.headers}
        return httpx2.Response(200, content=content.encode(), headers=headers)


def job(*adapters: AdapterUse) -> Job:
    return Job("1" * 32, (5, 6), 3, adapters, Sampling(0.0, 1.0, 0), frozenset({4}), "t", 5.0, 5.0)


def against(server: Server, work: Callable[[UpstreamBackend], Any]) -> Any:
    """Run a coroutine against a backend whose network is a scripted server."""

    async def main() -> Any:
        transport = httpx2.MockTransport(server.answer)
        backend = UpstreamBackend("http://up", "key", TextCodec.bundled(), BASE, 256, transport=transport)
        await backend.start()
        try:
            return await work(backend)
        finally:
            await backend.stop()

    return asyncio.run(main())


async def read(backend: UpstreamBackend, one: Job) -> list[Piece]:
    pieces = await backend.submit(one)
    found = [await pieces.next()]
    while not found[-1].end:
        found.append(await pieces.next())
    pieces.close()
    return found


def test_vllm_loads_by_hash_and_says_its_tokens() -> None:
    async def work(backend: UpstreamBackend) -> list[Piece]:
        assert backend.length_max == 100
        for _ in range(2):
            await backend.register(HASH, Path("/registry") / HASH)
        found = await read(backend, job(AdapterUse(HASH)))
        await backend.forget(HASH)
        return found

    server = Server()
    pieces = against(server, work)
    assert [piece.tokens for piece in pieces] == [(7,), (8, 9), ()]
    assert [piece.texts for piece in pieces] == [("He",), ("", "llo"), ()]
    assert (pieces[-1].end, pieces[-1].cached_tokens) == ("length", 1)
    asked = [body for path, body in server.calls if path == "/v1/completions"]
    assert (asked[0]["model"], asked[0]["prompt"], asked[0]["stream"]) == (HASH, [5, 6], True)
    loads = [body for path, body in server.calls if path == "/v1/load_lora_adapter"]
    assert loads == [{"lora_name": HASH, "lora_path": f"/registry/{HASH}"}]
    assert server.loras == {}


def test_vllm_that_was_restarted_gets_the_adapter_again_and_a_loaded_one_is_accepted() -> None:
    async def work(backend: UpstreamBackend) -> list[Piece]:
        server.loras[HASH] = "there"  # by a node that ran before
        await backend.register(HASH, Path("/registry") / HASH)
        server.loras.clear()  # the server is started again
        return await read(backend, job(AdapterUse(HASH)))

    server = Server()
    assert against(server, work)[-1].end == "length"
    assert list(server.loras) == [HASH]


def test_lorax_gets_the_path_and_its_text_is_tokenised() -> None:
    async def work(backend: UpstreamBackend) -> list[Piece]:
        await backend.register(HASH, Path("/registry") / HASH)
        return await read(backend, job(AdapterUse(HASH)))

    server = Server(runtime_loras=False)
    server.chunks = [
        {"choices": [{"text": "Hello there", "finish_reason": None}]},
        {"choices": [{"text": "", "finish_reason": "stop"}]},
        "[DONE]",
    ]
    pieces = against(server, work)
    codec = TextCodec.bundled()
    assert pieces[0].tokens == tuple(codec.encode("Hello there"))
    assert "".join(pieces[0].texts) == "Hello there"
    assert pieces[-1].end == "stop"
    assert server.calls[-1][1]["model"] == f"/registry/{HASH}"


BROKEN: list[tuple[list[dict[str, Any] | str], str]] = [
    ([{"error": {"message": "EngineCore died"}}], "EngineCore died"),
    ([{"choices": [{"text": "He", "token_ids": [7], "finish_reason": "stop"}]}], "without [DONE]"),
    (["not json"], "JSONDecodeError"),
    (["[DONE]"], "no finish reason"),
]


@pytest.mark.parametrize(("chunks", "message"), BROKEN, ids=[one[1] for one in BROKEN])
def test_an_answer_that_breaks_off_is_an_error(chunks: list[dict[str, Any] | str], message: str) -> None:
    server = Server()
    server.chunks = chunks
    last = against(server, lambda backend: read(backend, job()))[-1]
    assert last.end == "error"
    assert message in last.error


REFUSALS = [(429, BusyError), (503, BusyError), (400, InputError), (404, InputError), (500, UpstreamError)]


@pytest.mark.parametrize(("status", "kind"), REFUSALS)
def test_refusals_of_the_upstream(status: int, kind: type[Exception]) -> None:
    server = Server()
    server.status = status
    with pytest.raises(kind, match="no"):
        against(server, lambda backend: read(backend, job()))


@pytest.mark.parametrize("header", ["x-olsim-adapter", "x-olsim-base"])
def test_an_upstream_that_served_something_else_is_not_believed(header: str) -> None:
    server = Server()
    server.headers = {header: "ef" * 32}
    with pytest.raises(UpstreamError, match="was asked for"):
        against(server, lambda backend: read(backend, job()))


BEGUN: list[dict[str, Any] | str] = [{"choices": [{"text": "He", "token_ids": [7], "finish_reason": None}]}]


@pytest.mark.parametrize(("status", "chunks"), [(500, []), (200, []), (200, BEGUN)])
def test_a_failed_upstream_is_502(
    base: Path, tmp_path: Path, status: int, chunks: list[dict[str, Any] | str]
) -> None:
    server = Server()
    server.status, server.chunks = status, chunks

    def script(node: Node) -> None:
        node.backend._transport = httpx2.MockTransport(server.answer)  # type: ignore[attr-defined]

    with live(small(base, tmp_path, upstream="http://up"), script) as front:
        answer = front.complete("base", PROMPT)
        error = answer.json()["error"]
        assert (answer.status_code, error["type"], error["code"]) == (
            502,
            "upstream_error",
            "upstream_failed",
        )
        streamed = front.complete("base", PROMPT, stream=True)
        last = streamed.text.split("\n\n")[-2][6:] if chunks else streamed.text
        assert json.loads(last)["error"]["code"] == "upstream_failed"
        assert front.http.get("/health").status_code == 200


def test_an_upstream_that_fails_at_an_adapter_is_no_unknown_model() -> None:
    server = Server()
    server.load = lambda name, path: httpx2.Response(500, text="out of memory")  # type: ignore[method-assign]
    with pytest.raises(UpstreamError, match="out of memory"):
        against(server, lambda backend: backend.register(HASH, Path("/registry") / HASH))
