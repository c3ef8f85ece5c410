"""Python client of a node: every resource of its HTTP interface.

Rule: the client retries nothing by itself; `NodeError.retry_after_s` says when to come back. It needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx2

from models.errors import InputError
from reference_node.client_answer import (
    Answer,
    NodeError,
    Stream,
    check,
    document_of,
    fill,
    prove,
    unreachable,
)
from reference_node.manifest import MANIFEST_FILE

__all__ = ["Answer", "NodeClient", "NodeError", "Stream"]

Message = Mapping[str, Any]
LOAD_TIMEOUT_S = 60.0
# peft's names, written again because the module that reads adapters needs torch
UPLOAD_FILES = {
    "weights": "adapter_model.safetensors",
    "config": "adapter_config.json",
    "manifest": MANIFEST_FILE,
}


class NodeClient:
    """Connection to a node.

    Parameters
    ----------
    url
        Where the node listens, e.g. `http://127.0.0.1:8000`.
    key
        API key; None for a node without keys.
    timeout_s
        Longest silence of the node.

    Examples
    --------
    >>> with NodeClient("http://127.0.0.1:8000") as node:  # doctest: +SKIP
    ...     print(node.chat("medicine", [{"role": "user", "content": "What helps against a cold?"}]).text)
    """

    def __init__(
        self, url: str, key: str | None = None, *, timeout_s: float = LOAD_TIMEOUT_S, transport: Any = None
    ) -> None:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        try:
            self._http = httpx2.Client(
                base_url=url.rstrip("/"), headers=headers, timeout=timeout_s, transport=transport
            )
        except httpx2.InvalidURL as error:
            raise InputError(f"{url!r} is no address of a node: {error}") from error

    def __enter__(self) -> NodeClient:
        """Return the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def models(self) -> list[str]:
        """Return the names that `model` may have: the base and every adapter alias."""
        return [entry["id"] for entry in self._call("GET", "/v1/models")["data"]]

    def chat(self, model: str, messages: Sequence[Message], **settings: Any) -> Answer:
        """Return the answer to a conversation; `settings` as in the OpenAI interface (max_tokens, seed, ...)."""
        return self._answer("/v1/chat/completions", {"model": model, "messages": list(messages), **settings})

    def complete(self, model: str, prompt: str, **settings: Any) -> Answer:
        """Return the continuation of a text."""
        return self._answer("/v1/completions", {"model": model, "prompt": prompt, **settings})

    def stream_chat(self, model: str, messages: Sequence[Message], **settings: Any) -> Stream:
        """Return the answer to a conversation piece by piece."""
        return self._stream("/v1/chat/completions", {"model": model, "messages": list(messages), **settings})

    def stream_completion(self, model: str, prompt: str, **settings: Any) -> Stream:
        """Return the continuation of a text piece by piece."""
        return self._stream("/v1/completions", {"model": model, "prompt": prompt, **settings})

    def adapters(self) -> list[dict[str, Any]]:
        """Return every adapter with its versions' hashes, DataNets and owners."""
        return list(self._call("GET", "/v1/adapters")["data"])

    def versions(self, alias: str) -> list[dict[str, Any]]:
        """Return the versions of one adapter, oldest first; `served` marks the one that the alias means."""
        return list(self._call("GET", _adapter_path(alias))["data"])

    def upload(self, alias: str, folder: Path) -> dict[str, Any]:
        """Upload a peft folder (and its manifest, if there is one) as the newest version of an alias.

        Raises
        ------
        InputError
            When a file cannot be read.
        """
        try:
            files = {
                part: (name, (folder / name).read_bytes())
                for part, name in UPLOAD_FILES.items()
                if part != "manifest" or (folder / name).exists()
            }
        except OSError as error:
            raise InputError(f"{error.filename}: cannot be read: {error.strerror}") from error
        return self._call("POST", "/v1/adapters", data={"alias": alias}, files=files)

    def rollback(self, alias: str, sha256: str) -> dict[str, Any]:
        """Make an earlier version the one that the alias means; 8 digits of its hash are enough."""
        return self._call("POST", f"{_adapter_path(alias)}/rollback", json={"sha256": sha256})

    def delete(self, alias: str, sha256: str | None = None) -> list[str]:
        """Delete an adapter or one version, and return the hashes; requests in flight are finished with it."""
        one = {} if sha256 is None else {"sha256": sha256}
        return list(self._call("DELETE", _adapter_path(alias), params=one)["deleted"])

    def usage(self, scope: str = "tenant", since_ms: int = 0) -> dict[str, Any]:
        """Return tokens and fees of this key's tenant, of the `key` alone, or of `all` (administrators)."""
        return self._call("GET", "/v1/usage", params={"scope": scope, "since": since_ms})

    def bills(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return the newest bills of this key's tenant, newest first."""
        return list(self._call("GET", "/v1/billing", params={"limit": limit})["data"])

    def settle(self) -> dict[str, Any]:
        """Close the epoch (administrators) and return the settlement file, its name and its hash."""
        return self._call("POST", "/v1/settlements")

    def _answer(self, path: str, body: dict[str, Any]) -> Answer:
        response = self._send("POST", path, json=body)
        document = document_of(response)
        choice = document["choices"][0]
        answer = Answer(
            text=choice.get("text") or (choice.get("message") or {}).get("content") or "",
            finish=choice["finish_reason"],
        )
        prove(answer, response)
        fill(answer, document)
        return answer

    def _stream(self, path: str, body: dict[str, Any]) -> Stream:
        return Stream(self._http, {**body, "stream": True, "stream_options": {"include_usage": True}}, path)

    def _call(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        return document_of(self._send(method, path, **content))

    def _send(self, method: str, path: str, **content: Any) -> httpx2.Response:
        try:
            response = self._http.request(method, path, **content)
        except httpx2.TransportError as error:
            raise unreachable(self._http, error) from error
        check(response)
        return response


def _adapter_path(alias: str) -> str:
    return f"/v1/adapters/{quote(alias, safe='')}"
