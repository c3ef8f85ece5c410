"""Transport: JSON-RPC over HTTP to one address.

Rule decided here: one connection is kept and used in turn; a request is sent once, because a transaction that is sent
again would count twice. A node that does not answer is bad input and named by its address; what a node refuses is an
answer, with the code and the data that it gives.
"""

from __future__ import annotations

import json
import time
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from models.errors import InputError
from sim.chain.backend import ChainError

TIMEOUT_S = 60.0
IDLE_S = 2.0
"""After this long without a request a new connection is made: servers close idle ones when they like."""

METHOD_NOT_FOUND = -32601


class NodeError(InputError):
    """A node that does not answer, or is not what a witness run needs.

    Parameters
    ----------
    address
        ``HOST:PORT``.
    message
        What is wrong with it.
    """

    def __init__(self, address: str, message: str) -> None:
        self.address = address
        super().__init__(f"{address}: {message}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how a copy in another process is made."""
        return NodeError, (self.address, str(self).removeprefix(f"{self.address}: "))


class RpcRefused(ChainError):  # noqa: N818 - what happened to the request
    """A request that the node answered with an error.

    Parameters
    ----------
    method
        Which method.
    code, message
        As the node says; revert data comes with code 3.
    data
        Revert data, or b"".
    """

    def __init__(self, method: str, code: int, message: str, data: bytes) -> None:
        self.code, self.data = code, data
        super().__init__(f"{method}: {message} (code {code})")


class Transport:
    """Requests to one node.

    Parameters
    ----------
    address
        ``HOST:PORT``.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        parts = urlsplit(f"//{address}")
        assert parts.hostname is not None
        self._connection = HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)
        self._used = 0.0
        self._number = 0

    def __call__(self, method: str, *params: Any) -> Any:
        """Return the result of a method.

        Raises
        ------
        RpcRefused
            If the node answers with an error.
        NodeError
            If it does not answer, or not in JSON-RPC.
        """
        self._number += 1
        request = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        answer = self._post(json.dumps(request))
        if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
            raise NodeError(self.address, "answers, but not in JSON-RPC")
        if error := answer.get("error"):
            raise RpcRefused(method, int(error["code"]), str(error["message"]), _data(error.get("data")))
        return answer["result"]

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def _post(self, body: str) -> Any:
        if time.monotonic() - self._used > IDLE_S:
            self._connection.close()
        try:
            self._connection.request("POST", "/", body, {"Content-Type": "application/json"})
            text = self._connection.getresponse().read()
        except (OSError, HTTPException) as error:
            self._connection.close()
            reason = str(error) or type(error).__name__
            raise NodeError(self.address, f"no node answers there ({reason})") from error
        self._used = time.monotonic()
        try:
            return json.loads(text)
        except ValueError:
            raise NodeError(self.address, "answers, but not in JSON-RPC") from None


def _data(value: Any) -> bytes:
    """Return revert data wherever a node puts it: as text, or inside an object."""
    if isinstance(value, dict):
        value = value.get("data")
    if not isinstance(value, str) or not value.startswith("0x"):
        return b""
    try:
        return bytes.fromhex(value[2:])
    except ValueError:
        return b""
