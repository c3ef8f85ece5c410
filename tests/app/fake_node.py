"""A small server in this process that answers like a node: a chat, its attribution, its bill and its proof."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from models.merkle import inclusion_proof, log_leaf, log_root

CLOSED = "http://127.0.0.1:1"
"""Where nobody listens."""
REQUEST = "5a" * 16
TOKENS = ["Rest", " and", " <b>", "drink", " tea", "."]
ADA, BEN, OWNER = ("0x" + digit * 40 for digit in "abc")
ADA_NOTES = {"datanet": "notes", "contributor": "ada & co", "address": ADA}
ADA_TERMS = {**ADA_NOTES, "datanet": "terms"}
BEN_NOTES = {"datanet": "notes", "contributor": "<i>ben</i>", "address": BEN}
KEY = "olk_secret"


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def attribution() -> dict[str, Any]:
    """Three spans: the middle one is hidden by a longer one, the last stands alone."""
    return {
        "object": "attribution",
        "request_id": REQUEST,
        "method": "ef_spans.v1",
        "took_ms": 12.5,
        "tokens": TOKENS,
        "weights": [ADA_NOTES | {"weight": 600_000_000}, BEN_NOTES | {"weight": 300_000_000}],
        "methods": {
            "manifest": [
                ADA_NOTES | {"share": 0.5},
                ADA_TERMS | {"share": 0.25},
                BEN_NOTES | {"share": 0.25},
            ],
            "poa_llm": [BEN_NOTES | {"share": 1.0}],
            "ef_spans": [ADA_NOTES | {"share": 0.7}, BEN_NOTES | {"share": 0.3}],
            "new_method": [],
        },
        "spans": [
            {"start": 4, "stop": 6, "count": 1, "sources": [BEN_NOTES | {"document": "d3"}]},
            {"start": 0, "stop": 4, "count": 3, "sources": [ADA_NOTES | {"document": '"d1"'}]},
            {"start": 1, "stop": 3, "count": 9, "sources": []},
        ],
    }


def bill() -> dict[str, Any]:
    return {
        "request_id": REQUEST,
        "key_id": "0" * 16,
        "ts": 1,
        "tokens_in": 5,
        "cached_tokens": 0,
        "tokens_out": 6,
        "fee_gwei": 10_000,
        "parts_gwei": {"platform": 1_000, "burn": 0, "model": 2_000, "stakers": 2_000, "contributors": 5_000},
        "payees_gwei": {OWNER: 2_000, ADA: 3_400, BEN: 1_600},
    }


def proof(request_id: str = REQUEST, size: int = 5, seq: int = 2) -> dict[str, Any]:
    """Return an honest proof of record `seq`, which names a request."""
    records = [b"record %d" % i for i in range(size)]
    records[seq] = b"\xb0\x00\x02\x03\x50" + bytes.fromhex(request_id) + b"\x04"
    leaves = [log_leaf(record, _sha256) for record in records]
    return {
        "object": "proof",
        "request_id": request_id,
        "seq": seq,
        "size": size,
        "root": log_root(leaves, _sha256).hex(),
        "record": records[seq].hex(),
        "path": [node.hex() for node in inclusion_proof(leaves, seq, _sha256)],
    }


def _completion() -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(TOKENS)}
    return {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "bill": {"fee_gwei": 10_000, "request_id": REQUEST},
    }


def refusal(message: str, code: str = "not_found") -> dict[str, Any]:
    return {"error": {"message": message, "type": "error", "param": None, "code": code}}


class FakeNode:
    """What the server answers: path without its last part -> (status, body), and what it was asked."""

    def __init__(self) -> None:
        models = [
            {"id": name, "sha256": digit * 64, "parent": parent}
            for name, digit, parent in (("base", "0", None), ("medicine", "1", "base"), ("law", "2", "base"))
        ]
        self.address = ""
        self.answers: dict[str, tuple[int, Any]] = {
            "/v1/models": (200, {"object": "list", "data": models}),
            "/v1/chat/completions": (200, _completion()),
            "/v1/attributions": (200, attribution()),
            "/v1/billing": (200, {"object": "list", "tenant": "local", "data": [bill()], "has_more": False}),
            "/v1/proofs": (200, proof()),
        }
        self.headers: dict[str, str] = {}
        self.asked: list[str] = []
        self.bodies: list[Any] = []
        self.keys: list[str | None] = []
        self.silent = threading.Event()

    def count(self, path: str) -> int:
        return sum(asked.startswith(path) for asked in self.asked)


@contextmanager
def serving() -> Iterator[FakeNode]:
    """Serve a node on a free port until the block ends."""
    node = FakeNode()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            node.asked.append(self.path)
            node.keys.append(self.headers.get("authorization"))
            if node.silent.is_set():
                node.silent.clear()
                self.close_connection = True
                return
            path = self.path.partition("?")[0]
            status, body = next(
                (answer for start, answer in node.answers.items() if path.startswith(start)),
                (404, refusal("unknown path")),
            )
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"content-length": str(len(data)), **node.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            node.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        node.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield node
        finally:
            server.shutdown()
            thread.join()
