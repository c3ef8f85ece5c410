"""What the tests of clients share: a live node with two adapters, adapter folders, and servers that only pretend."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from reference_node.adapters import Adapter, save_adapter
from reference_node.manifest import AdapterManifest, write_manifest
from reference_node.serve.node import Node
from tests.node.api_world import FREE, OWNERS, Live, adapter, live, make_base, small

Reply = tuple[int, dict[str, str], bytes | Iterable[bytes]]
MESSAGES = [{"role": "user", "content": "What flows through Bern?"}]


@contextmanager
def node_with_adapters(folder: Path, step_s: float = 0.0) -> Iterator[Live]:
    """Serve a tiny random model with the adapters `law` and `verse`; each step takes `step_s` longer."""

    def brake(node: Node) -> None:
        engine = node.backend._engine  # type: ignore[attr-defined]
        step = engine.step

        def braked() -> Any:
            time.sleep(step_s)
            return step()

        engine.step = braked

    base = make_base(folder / "base")
    with live(small(base, folder / "data"), brake) as one:
        one.upload("law", adapter(2))
        one.upload("verse", adapter(3))
        yield one


def write_folder(made: Adapter, folder: Path, *, owner: str | None = OWNERS[0]) -> Path:
    """Write an adapter folder as peft does, with a manifest unless there is no owner."""
    save_adapter(made, folder)
    if owner is not None:
        write_manifest(AdapterManifest(owner), folder / "manifest.json")
    return folder


def is_served(node: Live) -> bool:
    """Return whether anything runs on the node."""
    return node.node.open_requests > 0 or node.node.backend.service.in_flight > 0


@contextmanager
def pretend(reply: Callable[[str, dict[str, Any]], Reply]) -> Iterator[str]:
    """Answer every request with what `reply` returns for its path and JSON body; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            self._answer(json.loads(body) if body[:1] == b"{" else {})

        def do_GET(self) -> None:
            self._answer({})

        def _answer(self, body: dict[str, Any]) -> None:
            status, headers, content = reply(self.path, body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):  # a client may leave early
                for part in (content,) if isinstance(content, bytes) else content:
                    self.wfile.write(part)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def events(*chunks: dict[str, Any] | str) -> Reply:
    """Return a stream of events; text goes out as it is."""
    data = (chunk if isinstance(chunk, str) else json.dumps(chunk) for chunk in chunks)
    return 200, {"content-type": "text/event-stream"}, "".join(f"data: {one}\n\n" for one in data).encode()


__all__ = ["FREE", "MESSAGES", "Live", "events", "is_served", "node_with_adapters", "pretend", "write_folder"]
