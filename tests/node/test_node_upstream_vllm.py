"""`olsim node serve --upstream` before a server that answers its adapter routes as vLLM does.

Its answers are in `vllm_recording.json`, for the two forms of error body that vLLM has had. The server is real HTTP;
what it generates says which adapter it was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("fastapi", reason="needs the node extra (fastapi)")

from reference_node.billing.audit import audit
from tests.node.api_world import Live, adapter, events, live, make_base, small, upload_parts, wait_until
from tests.node.live_node import Reply, pretend
from tests.node.live_node import events as stream_of

pytestmark = pytest.mark.node

RECORDING = json.loads(Path(__file__).with_name("vllm_recording.json").read_text(encoding="utf-8"))
MODEL = "org/base-model"


class Vllm:
    """A server with vLLM's routes for adapters; `loras` are name and path of those it has loaded."""

    def __init__(self, words: dict[str, Any]) -> None:
        self.words, self.loras, self.load_as = words, dict[str, str](), "loaded"
        self.asked: list[str] = []

    def say(self, what: str, **names: str) -> Reply:
        status, body = self.words[what]
        text = body if isinstance(body, str) else json.dumps(body)
        for name, value in names.items():
            text = text.replace(name, value)
        return status, {"content-type": "application/json"}, text.encode()

    def reply(self, path: str, body: dict[str, Any]) -> Reply:
        match path:
            case "/v1/models":
                return _json({"object": "list", "data": self.cards()})
            case "/openapi.json":
                return _json({"paths": {"/v1/completions": {}, "/v1/load_lora_adapter": {}}})
            case "/v1/load_lora_adapter":
                return self.load(body["lora_name"], body["lora_path"])
            case "/v1/unload_lora_adapter":
                name = body["lora_name"]
                return self.say("unloaded" if self.loras.pop(name, "") else "not_loaded", NAME=name)
            case _:
                return self.complete(body)

    def cards(self) -> list[dict[str, Any]]:
        base = {"id": MODEL, "object": "model", "owned_by": "vllm", "root": MODEL, "parent": None}
        loras = [{**base, "id": name, "root": path, "parent": MODEL} for name, path in self.loras.items()]
        return [{**base, "max_model_len": 200}, *loras]

    def load(self, name: str, path: str) -> Reply:
        if name in self.loras:
            return self.say("loaded_before", NAME=name)
        assert (Path(path) / "adapter_config.json").exists()
        if self.load_as == "loaded":
            self.loras[name] = path
        return self.say(self.load_as, NAME=name)

    def complete(self, body: dict[str, Any]) -> Reply:
        name = body["model"]
        self.asked.append(name)
        if name not in {MODEL, *self.loras}:
            return self.say("no_model", MODEL=name)
        tokens = [7, 8, 9][: body["max_tokens"]]
        choice = {"index": 0, "text": f" by {name[:8]}", "logprobs": None, "token_ids": tokens}
        usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": len(tokens)}
        head = {"id": "cmpl-1", "object": "text_completion", "model": name}
        return stream_of(
            {**head, "choices": [{**choice, "finish_reason": None}], "usage": None},
            {**head, "choices": [{**choice, "text": "", "token_ids": [], "finish_reason": "length"}]},
            {**head, "choices": [], "usage": usage},
            "[DONE]",
        )


def _json(document: Any) -> Reply:
    return 200, {"content-type": "application/json"}, json.dumps(document).encode()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@contextmanager
def before(server: Vllm, base: Path, data: Path) -> Iterator[Live]:
    with pretend(server.reply) as url, live(small(base, data, upstream=url)) as front:
        yield front


@pytest.fixture(params=["nested", "flat"])
def server(request: pytest.FixtureRequest) -> Vllm:
    return Vllm(RECORDING[request.param])


def test_the_life_of_an_adapter_before_vllm(server: Vllm, base: Path, tmp_path: Path) -> None:
    with before(server, base, tmp_path) as front:
        first, second = adapter(1), adapter(2)
        front.upload("law", first)
        path = Path(server.loras[first.sha256])
        assert {file.name for file in path.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
        whole = front.complete("law", "x", max_tokens=3)
        assert whole.json()["choices"][0]["text"] == f" by {first.sha256[:8]}"
        assert whole.headers["x-olsim-adapter"] == first.sha256
        assert whole.json()["usage"]["completion_tokens"] == 3
        stream = {
            "messages": [{"role": "user", "content": "Hi"}],
            "model": "base",
            "max_tokens": 2,
            "stream": True,
        }
        chunks = events(front.http.post("/v1/chat/completions", json=stream))
        assert chunks[-1]["bill"]["fee_gwei"] > 0
        front.upload("law", second)
        server.loras.clear()  # it was started again and has forgotten
        assert front.complete("law", "x").json()["choices"][0]["text"] == f" by {second.sha256[:8]}"
        assert list(server.loras) == [second.sha256]
        assert front.http.delete("/v1/adapters/law").status_code == 200
        wait_until(lambda: not server.loras)
        assert server.asked == [first.sha256, MODEL, second.sha256, second.sha256]
        wait_until(lambda: front.node.open_requests == 0)
        report = audit(front.node.log.folder)
        assert (report.records, report.tokens_out) == (3, 3 + 2 + 3)
        assert front.metrics()["olsim_completion_tokens_total"] == 8


def test_a_node_that_starts_again_accepts_what_vllm_has_loaded(
    server: Vllm, base: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        with before(server, base, tmp_path) as front:
            front.upload("law", adapter(1))
            assert front.complete("law", "x").headers["x-olsim-adapter"] == adapter(1).sha256
    assert list(server.loras) == [adapter(1).sha256]


def test_what_vllm_refuses_is_not_kept(base: Path, tmp_path: Path) -> None:
    server = Vllm(RECORDING["flat"])
    with before(server, base, tmp_path) as front:
        front.upload("law", adapter(1))
        server.load_as = "refused"
        for alias, seed in (("law", 2), ("new", 3)):
            answer = front.http.post("/v1/adapters", data={"alias": alias}, files=upload_parts(adapter(seed)))
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (400, "invalid_adapter")
            assert "greater than max_lora_rank 16" in error["message"]
        assert front.complete("new", "x").status_code == 404
        assert front.complete("law", "x").headers["x-olsim-adapter"] == adapter(1).sha256
        blobs = front.options.registry_folder / "blobs"
        wait_until(lambda: [path.name for path in blobs.iterdir()] == [adapter(1).sha256])
        again = front.http.post("/v1/adapters", data={"alias": "law"}, files=upload_parts(adapter(1)))
        assert again.status_code == 201, "what is served already is not asked for again"


def test_a_vllm_that_fails_to_load_is_told_again_by_the_first_request(
    server: Vllm, base: Path, tmp_path: Path
) -> None:
    with before(server, base, tmp_path) as front:
        server.load_as = "failed"
        front.upload("law", adapter(1))
        failed = front.complete("law", "x")
        assert (failed.status_code, failed.json()["error"]["code"]) == (502, "upstream_failed")
        assert "CUDA out of memory" in failed.json()["error"]["message"]
        server.load_as = "loaded"
        assert front.complete("law", "x").status_code == 200
        wait_until(lambda: front.node.open_requests == 0)
        assert front.node.log.size == 1
