"""What a node's client gets back: an answer whole or in pieces, and the one exception for every refusal.

Rule: the answer keeps what proves it. `adapters` are the content hashes that the node says served it, `fee_gwei` is its
bill, `request_id` names both in the node's log. Half an answer is an error, never an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2


class NodeError(RuntimeError):
    """The node refused or failed.

    Parameters
    ----------
    status
        HTTP status; 0 when the node could not be reached or went away, 500 for a failure in the middle of a stream.
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
        The name that was asked for.
    fingerprint, adapters
        `system_fingerprint` (base and adapters, in an ensemble with their weights), and the content hashes of the
        adapters that served it, empty for the base.
    finish
        `stop`, `length` or, before the end, empty.
    prompt_tokens, cached_tokens, completion_tokens
        Usage as billed; cached tokens are a part of the prompt's.
    fee_gwei
        The bill; None before the end.
    request_id
        Name of the bill and of its record in the node's log; known from the start.
    """

    text: str = ""
    model: str = ""
    fingerprint: str = ""
    adapters: tuple[str, ...] = ()
    finish: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    fee_gwei: int | None = None
    request_id: str = ""


class Stream:
    """Pieces of text as they are generated; `answer` holds the rest once the pieces are read."""

    def __init__(self, client: httpx2.Client, body: dict[str, Any], path: str) -> None:
        self.answer = Answer()
        self._client, self._body, self._path = client, body, path

    def __iter__(self) -> Iterator[str]:
        """Yield text; leaving the loop early closes the connection, which cancels the request on the node.

        Raises
        ------
        NodeError
            When the node refuses, fails on the way, or the stream breaks off.
        RuntimeError
            At the second reading: it would be a second request with a second bill.
        """
        if self.answer.request_id:
            raise RuntimeError("a stream is read once")
        try:
            with self._client.stream("POST", self._path, json=self._body) as response:
                if response.status_code >= 400:
                    response.read()
                    check(response)
                prove(self.answer, response)
                for event in httpx2.EventSource(response):
                    if event.data == "[DONE]":
                        return
                    piece = self._take(event.json())
                    if piece:
                        yield piece
        except httpx2.TransportError as error:
            raise unreachable(self._client, error) from error
        raise NodeError(0, f"the node at {self._client.base_url} broke the answer off; it is not whole")

    def _take(self, chunk: Any) -> str:
        if "error" in chunk:
            raise _error(500, chunk["error"])
        piece = ""
        for choice in chunk["choices"]:
            piece += choice.get("text") or (choice.get("delta") or {}).get("content") or ""
            self.answer.finish = choice.get("finish_reason") or self.answer.finish
        self.answer.text += piece
        fill(self.answer, chunk)
        return piece


def unreachable(client: httpx2.Client, error: httpx2.TransportError) -> NodeError:
    """Return the error for a node that was never there, or is gone in the middle."""
    never = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.UnsupportedProtocol)
    reason = str(error) or type(error).__name__
    said = "cannot reach the node" if never else "lost the node"
    return NodeError(0, f"{said} at {client.base_url}: {reason}")


def document_of(response: httpx2.Response) -> dict[str, Any]:
    """Return the JSON object of an answer, or raise a NodeError."""
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise NodeError(response.status_code, f"{response.url} does not answer like a node")
    return document


def check(response: httpx2.Response) -> None:
    """Raise the NodeError that a refusal is."""
    if response.status_code < 400:
        return
    try:
        body = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        body = response.text[:200] or response.reason_phrase
    after = response.headers.get("retry-after", "")  # a proxy may say a date, which is no promise of the node
    raise _error(response.status_code, body, float(after) if after.isdecimal() else None)


def _error(status: int, body: Any, retry_after_s: float | None = None) -> NodeError:
    if not isinstance(body, Mapping):
        return NodeError(status, str(body), retry_after_s=retry_after_s)
    kind, message = str(body.get("type") or ""), str(body.get("message", ""))
    return NodeError(status, message, kind, body.get("param"), body.get("code"), retry_after_s)


def prove(answer: Answer, response: httpx2.Response) -> None:
    """Take what the headers say before there is any text."""
    named = (part.strip() for part in response.headers.get("x-olsim-adapter", "").split(","))
    answer.adapters = tuple(part.partition("@")[0] for part in named if part and part != "base")
    answer.request_id = response.headers.get("x-request-id", "")


def fill(answer: Answer, document: Mapping[str, Any]) -> None:
    """Take what a whole answer and the chunks of a stream say alike."""
    answer.model = document.get("model") or answer.model
    answer.fingerprint = document.get("system_fingerprint") or answer.fingerprint
    usage = document.get("usage")
    if usage:
        answer.prompt_tokens, answer.completion_tokens = usage["prompt_tokens"], usage["completion_tokens"]
        answer.cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    bill = document.get("bill")
    if bill:
        answer.fee_gwei, answer.request_id = bill["fee_gwei"], bill["request_id"]
