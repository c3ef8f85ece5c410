"""A live node on 127.0.0.1 for the tests of its interface: real parts around a tiny random model."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2
import torch
from prometheus_client.parser import text_string_to_metric_families

from reference_node.access import SCOPES, KeyStore, Quota
from reference_node.adapters import Adapter, pack_adapter, random_adapter
from reference_node.config import ModelConfig
from reference_node.engine import Engine, EngineConfig
from reference_node.model import random_model
from reference_node.pool import AdapterPool
from reference_node.request import AdapterUse, Request
from reference_node.serve.limits import Limits
from reference_node.serve.node import Node
from reference_node.serve.opening import NodeOptions, open_node
from reference_node.serve.server import NodeServer, listen
from reference_node.tokenizer import TextCodec, bundled_file
from reference_node.weights import load_model, save_model

LENGTH_MAX = 256
PROMPT = "The river Aar"
OWNERS = ("0x" + "a1" * 20, "0x" + "b2" * 20)
FREE = Quota(None, None, None, None)


def shape() -> ModelConfig:
    """Return a model that decodes thousands of tokens a second on one thread."""
    return ModelConfig(
        vocab_size=TextCodec.bundled().vocab_size,
        hidden_size=48,
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=12,
        intermediate_size=96,
    )


def make_base(folder: Path) -> Path:
    """Write a transformers folder with random weights and the committed tokenizer."""
    torch.set_num_threads(1)
    save_model(random_model(shape(), 3, max_length=LENGTH_MAX), folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(bundled_file().with_name(name), folder / name)
    return folder


def adapter(seed: int, rank: int = 4) -> Adapter:
    """Return an adapter that changes what the tiny model says."""
    return random_adapter(shape(), rank, seed, gain=20.0)


def upload_parts(made: Adapter, manifest: bytes | None = None) -> dict[str, tuple[str, bytes]]:
    """Return the files of an upload."""
    weights, config = pack_adapter(made)
    parts = {"weights": ("adapter_model.safetensors", weights), "config": ("adapter_config.json", config)}
    return parts if manifest is None else {**parts, "manifest": ("manifest.json", manifest)}


class Reference:
    """What each adapter says greedily, served alone by an engine of its own."""

    def __init__(self, base: Path) -> None:
        self.codec = TextCodec.from_folder(base)
        model, _ = load_model(base, max_length=LENGTH_MAX)
        self._pool = AdapterPool(model.config, slots=4, rank_max=16)
        self._engine = Engine(model, self._pool, EngineConfig(batch_max=1, length_max=LENGTH_MAX))

    def tokens(
        self, prompt: list[int], adapters: Mapping[str, tuple[Adapter, float]] | Adapter | None, count: int
    ) -> list[int]:
        """Return the greedy continuation; ends after an end-of-text token."""
        if isinstance(adapters, Adapter):
            adapters = {adapters.sha256: (adapters, 1.0)}
        uses = []
        for made, weight in (adapters or {}).values():
            uses.append(AdapterUse(self._pool.add(made), weight))
        request = Request(
            "reference", tuple(prompt), count, tuple(uses), stop_tokens=frozenset(self.codec.eos_ids)
        )
        return self._engine.run([request])["reference"].tokens

    def text(self, prompt: list[int], made: Adapter | None, count: int) -> str:
        """Return the same as text, without the end-of-text token."""
        tokens = self.tokens(prompt, made, count)
        return self.codec.decode([token for token in tokens if token not in self.codec.eos_ids])


@dataclass
class Live:
    """A node that listens, and a client with its administrator's key."""

    node: Node
    url: str
    options: NodeOptions
    key: str
    http: httpx2.Client
    server: NodeServer
    uploaded: dict[str, Adapter] = field(default_factory=dict)

    def key_of(self, tenant: str, scopes: tuple[str, ...] = ("inference",), quota: Quota = FREE) -> str:
        """Return a new key."""
        return KeyStore(self.options.key_file).create(tenant, tenant, scopes, quota)

    def upload(self, alias: str, made: Adapter, manifest: bytes | None = None) -> str:
        """Upload an adapter and return its hash."""
        answer = self.http.post("/v1/adapters", data={"alias": alias}, files=upload_parts(made, manifest))
        assert answer.status_code == 201, answer.text
        self.uploaded[alias] = made
        return str(answer.json()["sha256"])

    def metrics(self) -> dict[str, float]:
        """Return every sample of the metrics, summed over its labels."""
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(self.http.get("/metrics").text):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
        return sums

    def complete(self, model: str, prompt: Any, **settings: Any) -> httpx2.Response:
        """Ask for a greedy completion."""
        body = {"model": model, "prompt": prompt, "temperature": 0, **settings}
        return self.http.post("/v1/completions", json=body)


@contextmanager
def live(options: NodeOptions, prepare: Callable[[Node], None] = lambda node: None) -> Iterator[Live]:
    """Serve a node on a free port of this machine until the block ends."""
    key = KeyStore(options.key_file).create("admin", "house", SCOPES, FREE) if options.auth else ""
    with listen(options.host, 0) as taken:
        options = replace(options, port=taken.getsockname()[1])
        node = open_node(options)
        prepare(node)
        server = NodeServer(node, drain_s=5)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, name="server")
        thread.start()
        try:
            wait_until(lambda: server.started)
            url = f"http://127.0.0.1:{options.port}"
            headers = {"authorization": f"Bearer {key}"} if key else {}
            with httpx2.Client(base_url=url, headers=headers, timeout=30) as http:
                yield Live(node, url, options, key, http, server)
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def small(base: Path, data: Path, **changes: Any) -> NodeOptions:
    """Return options of a node that a test can fill."""
    settings: dict[str, Any] = {
        "base": str(base),
        "data": data,
        "slots": 4,
        "rank_max": 16,
        "batch_max": 4,
        "length_max": LENGTH_MAX,
        "limits": Limits(queue_wait_s=20.0, wall_s=30.0),
    }
    return NodeOptions(**{**settings, **changes})


def wait_until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def ids(node: Live, text: str = PROMPT) -> list[int]:
    return node.node.codec.prompt(text)


def events(response: Any) -> list[dict[str, Any]]:
    """Return the events of a stream, checking its frame and its end."""
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = response.text.split("\n\n")
    assert blocks[-2:] == ["data: [DONE]", ""]
    assert all(block.startswith("data: {") for block in blocks[:-2])
    return [json.loads(block[6:]) for block in blocks[:-2]]


def settled(node: Live) -> bool:
    figures = node.node.backend.service.in_flight  # type: ignore[attr-defined]
    return figures == 0 and node.node.open_requests == 0
