"""JSON-RPC client of an Ethereum-like node.

Rule decided here: what only reads is asked again when the node cannot be reached; what sends is asked once,
because nobody knows whether a request without an answer was executed.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import httpx2

from models.errors import InputError

ATTEMPTS = 4
_BACKOFF_S = 0.25


class Unreachable(RuntimeError):  # noqa: N818 - says what the node is
    """No answer came: what was asked may have been done or not."""


class Refused(RuntimeError):  # noqa: N818
    """The node answered with an error.

    Parameters
    ----------
    method
        What was asked.
    message
        The node's words.
    data
        Raw bytes of a revert, empty where there are none.
    """

    def __init__(self, method: str, message: str, data: bytes) -> None:
        super().__init__(f"{method}: {message}")
        self.message, self.data = message, data


class Rpc:
    """One node.

    Parameters
    ----------
    url
        Where it listens, http or https.
    timeout_s
        Of one request.
    sleep
        Waits the given seconds between attempts.
    """

    def __init__(
        self, url: str, *, timeout_s: float = 30.0, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise InputError(
                f"--rpc {url!r} is no address of a node; expected http://HOST:PORT or https://..."
            )
        self.url, self.sleep = url, sleep
        self._http = httpx2.Client(timeout=timeout_s)
        self._ids = itertools.count(1)

    def __enter__(self) -> Rpc:
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()

    def read(self, method: str, *params: Any) -> Any:
        """Ask for something that changes nothing, again if no answer comes.

        Raises
        ------
        Refused
            If the node answers with an error.
        Unreachable
            If no answer came to any attempt.
        """
        for attempt in range(ATTEMPTS):
            try:
                return self.send(method, *params)
            except Unreachable:
                if attempt == ATTEMPTS - 1:
                    raise
                self.sleep(_BACKOFF_S * 2**attempt)
        raise AssertionError

    def send(self, method: str, *params: Any) -> Any:
        """Ask once.

        Raises
        ------
        Refused
            If the node answers with an error.
        Unreachable
            If no answer came.
        """
        body = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(params)}
        try:
            response = self._http.post(self.url, json=body)
            response.raise_for_status()
            answer = response.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise Unreachable(
                f"{self.url} gave no answer to {method}: {error or type(error).__name__}"
            ) from error
        if not isinstance(answer, dict) or ("error" not in answer and "result" not in answer):
            raise Unreachable(
                f"{self.url} is no JSON-RPC node: it answered {str(answer)[:100]!r} to {method}"
            )
        if answer.get("error"):
            raise _refused(method, answer["error"])
        return answer["result"]

    def quantity(self, method: str, *params: Any) -> int:
        """Return a number that the node reads."""
        return int(self.read(method, *params), 16)


def _refused(method: str, error: Any) -> Refused:
    if not isinstance(error, dict):
        return Refused(method, str(error), b"")
    data = error.get("data")
    if isinstance(data, dict):  # some nodes wrap the revert's bytes
        data = data.get("data")
    try:
        raw = bytes.fromhex(data[2:]) if isinstance(data, str) and data.startswith("0x") else b""
    except ValueError:
        raw = b""
    return Refused(method, str(error.get("message", error)), raw)
