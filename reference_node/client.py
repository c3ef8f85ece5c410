"""Python client of a node: the whole HTTP interface with typed answers, and one exception for every refusal.

Rule: the client keeps what proves the answer. `Answer.adapters` are the content hashes that the node says served it,
`Answer.fee_gwei` is its bill. It retries nothing by itself; `NodeError.retry_after_s` says when to come back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2

from reference_node.adapters import CONFIG_FILE, WEIGHTS_FILE
from reference_node.manifest import MANIFEST_FILE

Message = Mapping[str, str]
LOAD_TIMEOUT_S = 60.0


class NodeError(RuntimeError):
    """The node refused or failed.

    Parameters
    ----------
    status
        HTTP status; 0 when the node could not be reached.
    message, kind, param, code
        The error body's fields.
    retry_after_s
        Seconds after which a refusal for load or quota may be tried again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        kind: str = "",
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(status, message, kind, param, code, retry_after_s)
        self.status, self.message, self.kind, self.param = status, message, kind, param
        self.code, self.retry_after_s = code, retry_after_s

    def __str__(self) -> str:
        """Say status, message and when to try again."""
        again = "" if self.retry_after_s is None else f" (try again in {self.retry_after_s:g} s)"
        return f"{self.status}: {self.message}{again}" if self.status else self.message


@dataclass(slots=True)
class Answer:
    """One completion; a stream fills it while it is read.

    Parameters
    ----------
    text
        What was generated so far.
    model
        The model name as the node resolved it.
    fingerprint, adapters
        `system_fingerprint`, and the content hashes of the adapters that served it, empty for the base.
    finish
        `stop`, `length` or, before the end, empty.
    prompt_tokens, completion_tokens
        Usage as billed.
    fee_gwei
        The bill; None where the node keeps none.
    request_id
        Name of the bill and of its record in the node's log.
    """

    text: str = ""
    model: str = ""
    fingerprint: str = ""
    adapters: tuple[str, ...] = ()
    finish: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    fee_gwei: int | None = None
    request_id: str = ""


class Stream:
    """Pieces of text as they are generated; `answer` holds the rest once the pieces are read."""

    def __init__(self, client: httpx2.Client, body: dict[str, Any], path: str) -> None:
        self.answer = Answer()
        self._client, self._body, self._path = client, body, path

    def __iter__(self) -> Iterator[str]:
        """Yield text; leaving the loop early closes the connection, which cancels the request on the node."""
        with self._client.stream("POST", self._path, json=self._body) as response:
            if response.status_code >= 400:
                response.read()
            _check(response)
            self.answer.adapters = _adapters(response)
            for event in httpx2.EventSource(response):
                if event.data == "[DONE]":
                    return
                piece = self._take(response, dict(event.json()))  # type: ignore[call-overload]
                if piece:
                    yield piece

    def _take(self, response: httpx2.Response, chunk: dict[str, Any]) -> str:
        if "error" in chunk:
            raise _error(response, chunk["error"])
        piece = ""
        for choice in chunk["choices"]:
            piece += choice.get("text") or (choice.get("delta") or {}).get("content") or ""
            self.answer.finish = choice.get("finish_reason") or self.answer.finish
        self.answer.text += piece
        _fill(self.answer, chunk)
        return piece


class NodeClient:
    """Connection to a node.

    Parameters
    ----------
    url
        Where the node listens, e.g. `http://127.0.0.1:8000`.
    key
        API key; None for a node without keys.
    timeout_s
        Of one answer.

    Examples
    --------
    >>> with NodeClient("http://127.0.0.1:8000") as node:  # doctest: +SKIP
    ...     print(node.chat("medicine", [{"role": "user", "content": "What helps against a cold?"}]).text)
    """

    def __init__(
        self, url: str, key: str | None = None, *, timeout_s: float = LOAD_TIMEOUT_S, transport: Any = None
    ) -> None:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self._http = httpx2.Client(
            base_url=url.rstrip("/"), headers=headers, timeout=timeout_s, transport=transport
        )

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

    def versions(self, alias: str) -> dict[str, Any]:
        """Return the versions of one adapter."""
        return self._call("GET", f"/v1/adapters/{alias}")

    def upload(self, alias: str, folder: Path) -> dict[str, Any]:
        """Upload a peft folder (and its manifest, if there is one) as the newest version of an alias."""
        names = {"weights": WEIGHTS_FILE, "config": CONFIG_FILE, "manifest": MANIFEST_FILE}
        files = {
            part: (name, (folder / name).read_bytes())
            for part, name in names.items()
            if part != "manifest" or (folder / name).is_file()
        }
        return self._call("POST", "/v1/adapters", data={"alias": alias}, files=files)

    def rollback(self, alias: str, sha256: str) -> dict[str, Any]:
        """Make an earlier version the one that the alias means."""
        return self._call("POST", f"/v1/adapters/{alias}/rollback", json={"sha256": sha256})

    def delete(self, alias: str) -> dict[str, Any]:
        """Delete an adapter; requests in flight are finished with it."""
        return self._call("DELETE", f"/v1/adapters/{alias}")

    def usage(self) -> dict[str, Any]:
        """Return the tokens and fees of this key's tenant."""
        return self._call("GET", "/v1/usage")

    def bills(self) -> list[dict[str, Any]]:
        """Return the bills of this key's tenant."""
        return list(self._call("GET", "/v1/billing")["data"])

    def _answer(self, path: str, body: dict[str, Any]) -> Answer:
        response = self._send("POST", path, json=body)
        document = response.json()
        choice = document["choices"][0]
        answer = Answer(
            text=choice.get("text") or (choice.get("message") or {}).get("content") or "",
            finish=choice["finish_reason"],
            adapters=_adapters(response),
        )
        _fill(answer, document)
        return answer

    def _stream(self, path: str, body: dict[str, Any]) -> Stream:
        return Stream(self._http, {**body, "stream": True, "stream_options": {"include_usage": True}}, path)

    def _call(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        return dict(self._send(method, path, **content).json())

    def _send(self, method: str, path: str, **content: Any) -> httpx2.Response:
        try:
            response = self._http.request(method, path, **content)
        except httpx2.TransportError as error:
            raise NodeError(0, f"cannot reach the node at {self._http.base_url}: {error}") from error
        _check(response)
        return response


def _check(response: httpx2.Response) -> None:
    if response.status_code < 400:
        return
    try:
        body = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        body = {"message": response.text[:200] or response.reason_phrase}
    raise _error(response, body)


def _error(response: httpx2.Response, body: dict[str, Any]) -> NodeError:
    after = response.headers.get("retry-after")
    return NodeError(
        response.status_code,
        str(body.get("message", "")),
        str(body.get("type") or ""),
        body.get("param"),
        body.get("code"),
        None if after is None else float(after),
    )


def _adapters(response: httpx2.Response) -> tuple[str, ...]:
    named = response.headers.get("x-olsim-adapter", "")
    return tuple(part.strip() for part in named.split(",") if part.strip() and part.strip() != "base")


def _fill(answer: Answer, document: dict[str, Any]) -> None:
    """Take what a whole answer and the chunks of a stream say alike."""
    answer.model = document.get("model") or answer.model
    answer.fingerprint = document.get("system_fingerprint") or answer.fingerprint
    usage = document.get("usage")
    if usage:
        answer.prompt_tokens, answer.completion_tokens = usage["prompt_tokens"], usage["completion_tokens"]
    bill = document.get("bill")
    if bill:
        answer.fee_gwei, answer.request_id = bill["fee_gwei"], bill["request_id"]
