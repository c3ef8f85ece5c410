"""Client of a running node: what the page on attribution asks, over HTTP, with the standard library alone.

Rules decided here. One connection per request, to the named address and nowhere else: no proxy and no redirect sees the
key. A request is sent once, because an answer is billed. Whatever goes wrong is one sentence that says what to do
about it; the node's own words stand in it as the node's.
"""

from __future__ import annotations

import json
import re
import socket
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import ValidationError

from sim.dashboard.node_answers import (
    Attribution,
    Bill,
    BillList,
    Completion,
    Model,
    ModelList,
    Part,
    Proof,
)

BUILD = "olsim node attribute build ADAPTER DATASET --out BUNDLE"
SERVE = "olsim node serve --attribution BUNDLE"
KEYS = "olsim node keys create NAME --scope inference --scope usage:read"
BODY_MAX = 32 << 20
"""Bytes of an answer that are read."""
BILLS = 100
"""Newest bills among which a request's own is looked for."""
LOOK_S = 5.0
"""Longest silence while the node is looked for."""
ANSWER_S = 120.0
"""Longest silence while it answers or explains."""
_WORDS_MAX = 300
_KEY = re.compile(r"[!-~]*")
Read = TypeVar("Read", bound=Part)


class NodeError(Exception):
    """What keeps a node from answering, as a sentence for people.

    Parameters
    ----------
    said
        What is wrong and what to do about it, without anything of the node's.
    words
        The node's own words, or "".
    status
        HTTP status; 0 where there was no answer.
    """

    def __init__(self, said: str, words: str = "", status: int = 0) -> None:
        super().__init__(said)
        self.said, self.words, self.status = said, " ".join(words.split())[:_WORDS_MAX], status


@dataclass(frozen=True, slots=True)
class NodeClient:
    """A node by its address.

    Parameters
    ----------
    address
        ``http://HOST:PORT``; the scheme may be left out.
    key
        API key, "" for a node without keys.

    Raises
    ------
    NodeError
        If the address or the key cannot be one.
    """

    address: str
    key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", _plain(self.address))
        object.__setattr__(self, "key", self.key.strip())
        if not _KEY.fullmatch(self.key):
            raise NodeError("The API key holds blanks or letters that no key has: paste it again.")

    def models(self) -> list[Model]:
        """Return the names that may be asked for, the base model first."""
        return self._read(ModelList, "GET", "/v1/models", timeout_s=LOOK_S).data

    def chat(self, model: str, prompt: str, tokens: int) -> Completion:
        """Ask one question at temperature 0; the answer is billed and recorded when this returns.

        Parameters
        ----------
        model
            One of `models`.
        prompt
            The question.
        tokens
            Most tokens of the answer.
        """
        body = {
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": tokens,
            "temperature": 0,
        }
        return self._read(Completion, "POST", "/v1/chat/completions", body)

    def attribution(self, request_id: str) -> Attribution:
        """Return whose data an answer rests on."""
        return self._read(Attribution, "GET", f"/v1/attributions/{quote(request_id)}")

    def bill(self, request_id: str) -> Bill:
        """Return the bill of a request that has just been answered."""
        bills = self._read(BillList, "GET", f"/v1/billing?limit={BILLS}").data
        found = next((bill for bill in bills if bill.request_id == request_id), None)
        if found is None:
            raise NodeError(f"The bill is not among the newest {BILLS} of this key's tenant: ask again.")
        return found

    def proof(self, request_id: str) -> Proof:
        """Return the record of a request and its path to the log's root, unchecked."""
        return self._read(Proof, "GET", f"/v1/proofs/{quote(request_id)}")

    def _read(
        self, kind: type[Read], method: str, path: str, body: Any = None, *, timeout_s: float = ANSWER_S
    ) -> Read:
        status, data, retry_after = self._exchange(method, path, body, timeout_s)
        if status != 200:
            raise _refusal(self.address, path, status, _words(data), retry_after)
        try:
            return kind.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            said = (
                f"What listens at {self.address} does not answer {path} like an olsim node of this version."
            )
            raise NodeError(said, f"{place}: {first['msg']}" if place else first["msg"]) from error

    def _exchange(self, method: str, path: str, body: Any, timeout_s: float) -> tuple[int, bytes, str]:
        """Return status, body and what the node says of when to come back."""
        parts = urlsplit(self.address)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        headers = {"accept": "application/json", "content-type": "application/json"}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
        try:
            sent = None if body is None else json.dumps(body).encode()
            connection.request(method, path, sent, headers)
            with connection.getresponse() as answer:
                data = answer.read(BODY_MAX + 1)
        except (OSError, HTTPException, UnicodeError) as error:
            raise _unreachable(self.address, timeout_s, error) from error
        finally:
            connection.close()
        if len(data) > BODY_MAX:
            raise NodeError(f"{self.address} answers with more than {BODY_MAX >> 20} MiB: it is no node.")
        return answer.status, data, answer.getheader("retry-after", "")


def _plain(address: str) -> str:
    """Return an address as ``scheme://host[:port]``."""
    text = address.strip()
    text = (text if "://" in text else f"http://{text}").rstrip("/").removesuffix("/v1")
    said = f"{address.strip()!r} is no address of a node: write it like http://127.0.0.1:8000"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise NodeError(said) from error
    whole = parts.scheme in ("http", "https") and re.fullmatch(r"[0-9A-Za-z._:-]+", parts.hostname or "")
    if not whole or "@" in parts.netloc or parts.path or parts.query or parts.fragment or port == 0:
        raise NodeError(said + " (a key has a field of its own)." if "@" in parts.netloc else said + ".")
    return text


def _unreachable(address: str, timeout_s: float, error: Exception) -> NodeError:
    """Return what no answer at all means."""
    if isinstance(error, TimeoutError):
        return NodeError(
            f"{address} said nothing for {timeout_s:g} s: it is loading, overloaded or no node; "
            "look at its terminal, then ask again or for fewer tokens."
        )
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return NodeError(f"There is no host of the name in {address}: correct the address.")
    if isinstance(error, ConnectionRefusedError):
        return NodeError(f"There is no node at {address}: start one with `{SERVE}`, or correct the address.")
    said = f"The connection to {address} failed: look whether the node still runs, and at http or https."
    return NodeError(said, str(error))


def _refusal(address: str, path: str, status: int, words: str, retry_after: str) -> NodeError:
    """Return what an answer with another status than 200 means, and what to do about it."""
    wait = f" in {retry_after} s" if retry_after.isdecimal() else " in a few seconds"
    if status == 401:
        said = f"The node wants an API key that it knows: enter one; `{KEYS}` makes one."
    elif status == 403:
        said = f"The key may not do this: it needs the scopes inference and usage:read; `{KEYS}` makes one."
    elif status == 404 and path.startswith("/v1/attributions/"):
        said = (
            f"This answer is not attributed: make a bundle of the adapter with `{BUILD}`, start the node with "
            f"`{SERVE}`, and choose that adapter as the model."
        )
    elif status == 404 and path.startswith("/v1/proofs/"):
        said = "No proof is offered for this request."
    elif status == 404:
        said = f"{address} does not know this: choose another model, or correct the address if it is no node."
    elif status == 409:
        said = "The node does not do this now."
    elif status == 429:
        said = f"The node is full or the key's quota is used up: ask again{wait}."
    elif 300 <= status < 400:
        said = f"{address} sends elsewhere, which is not followed: enter the node's own address."
    elif status >= 500:
        said = f"The node failed (status {status}): look at its terminal, and ask again{wait}."
    else:
        said = f"The node refuses this (status {status}): change the prompt or the number of tokens."
    return NodeError(said, words, status)


def _words(data: bytes) -> str:
    """Return the message of an error's body, or "" where it has none."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    error = document.get("error") if isinstance(document, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return message if isinstance(message, str) else ""
