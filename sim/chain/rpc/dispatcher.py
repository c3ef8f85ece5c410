"""Dispatcher: from the bytes of a request to the bytes of its answer.

Rule decided here: JSON-RPC 2.0. A text that is too long, too deep or no JSON at all gets one error; in a batch every
request gets its own answer, and one without an id gets none. Whatever a method does, the answer is JSON and the node
goes on; an error that nobody foresaw is an internal one, by its type alone.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NoReturn

from sim.chain.abi import Reverted
from sim.chain.backend import ChainError, InsufficientFunds
from sim.chain.rpc.codec import shown
from sim.chain.rpc.errors import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    REFUSED,
    REVERTED,
    RpcError,
)
from sim.chain.rpc.methods import METHODS, WRITES
from sim.chain.rpc.params import Params

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sim.chain.rpc.methods import Method
    from sim.chain.rpc.node import Node

REQUEST_BYTES_MAX = 5 * 1024 * 1024
BATCH_MAX = 1_000
ANSWER_BYTES_MAX = 50 * 1024 * 1024
DEPTH_MAX = 64
"""Limits of a request: its bytes, requests in a batch, bytes of the answer to one, nesting."""

# A string (an unclosed one runs to the end, so that no byte is looked at twice) or one bracket.
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


class Dispatcher:
    """Answers the requests to one node.

    Parameters
    ----------
    node
        The node.
    methods
        What it answers.
    observe
        Called after each method that changed something, with its arguments.
    """

    def __init__(
        self,
        node: Node,
        methods: Mapping[str, Method] = METHODS,
        observe: Callable[[Node, str, Any], None] | None = None,
    ) -> None:
        self.node, self._methods, self.observe = node, methods, observe

    def handle(self, text: bytes) -> bytes | None:
        """Return the answer to a request or a batch; None where nothing is to be answered."""
        try:
            request = read_json(text)
        except RpcError as error:
            return _encode(_failure(None, error))
        if not isinstance(request, list):
            answer = self.answer(request)
            return None if answer is None else _encode(answer)
        if not request or len(request) > BATCH_MAX:
            message = f"batch of {len(request)} requests; expected 1 to {BATCH_MAX}"
            return _encode(_failure(None, RpcError(INVALID_REQUEST, message)))
        return self._batch(request)

    def _batch(self, requests: list[Any]) -> bytes | None:
        answers, size = [], 0
        for request in requests:
            answer = self.answer(request)
            if answer is None:
                continue
            if size > ANSWER_BYTES_MAX:
                answer = _failure(answer["id"], RpcError(REFUSED, "the answers so far are too large"))
            answers.append(_encode(answer))
            size += len(answers[-1])
        return b"[" + b",".join(answers) + b"]" if answers else None

    def answer(self, request: Any) -> dict[str, Any] | None:
        """Return the answer to one request as an object; None to one without an id."""
        if not isinstance(request, dict):
            return _failure(None, RpcError(INVALID_REQUEST, f"invalid request {shown(request)}"))
        number = request.get("id")
        if isinstance(number, (dict, list, bool)):
            return _failure(None, RpcError(INVALID_REQUEST, "id is neither a string nor a number"))
        if request.get("jsonrpc") != "2.0" or not isinstance(request.get("method"), str):
            message = 'invalid request; expected "jsonrpc": "2.0" and a "method"'
            return _failure(number, RpcError(INVALID_REQUEST, message))
        try:
            result = self.call(request["method"], request.get("params"))
            answer = {"jsonrpc": "2.0", "id": number, "result": result}
        except RpcError as error:
            answer = _failure(number, error)
        return answer if "id" in request else None

    def call(self, method: str, params: Any = None) -> Any:
        """Return the result of a method.

        Raises
        ------
        RpcError
            With the number and the words that a client gets.
        """
        run = self._methods.get(method)
        if run is None:
            raise RpcError(
                METHOD_NOT_FOUND, f"the method {shown(method)[1:-1]} does not exist/is not available"
            )
        try:
            result = run(self.node, Params(params))
        except RpcError:
            raise
        except InsufficientFunds as error:
            raise RpcError(REFUSED, f"insufficient funds: {error}") from error
        except Reverted as error:
            raise RpcError(REVERTED, f"execution reverted: {error}", "0x" + error.data.hex()) from error
        except ChainError as error:
            raise RpcError(REFUSED, str(error)) from error
        except Exception as error:  # the node answers whatever happens; its own errors show in its tests
            raise RpcError(INTERNAL_ERROR, f"internal error: {type(error).__name__}") from error
        if self.observe is not None and method in WRITES:
            self.observe(self.node, method, params)
        return result


def read_json(text: bytes) -> Any:
    """Return the value of a request's text.

    Raises
    ------
    RpcError
        If it is too long, too deep, or no JSON.
    """
    if len(text) > REQUEST_BYTES_MAX:
        raise RpcError(
            INVALID_REQUEST, f"content length {len(text)} too large ({REQUEST_BYTES_MAX} bytes allowed)"
        )
    if _is_deep(text):
        raise RpcError(PARSE_ERROR, f"parse error: nested deeper than {DEPTH_MAX} levels")
    try:
        return json.loads(text.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise RpcError(PARSE_ERROR, f"parse error: {str(error)[:120]}") from error


def _is_deep(text: bytes) -> bool:
    """Whether brackets are nested too deep, which the parser would find out by recursion."""
    depth = 0
    for token in _TOKENS.finditer(text):
        kind = token.group()[:1]
        if kind in b"[{":
            depth += 1
            if depth > DEPTH_MAX:
                return True
        elif kind in b"]}":
            depth -= 1
    return False


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _failure(number: Any, error: RpcError) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "error": error.as_json()}


def _encode(answer: dict[str, Any]) -> bytes:
    text = json.dumps(answer, separators=(",", ":")).encode()
    if len(text) > ANSWER_BYTES_MAX:
        message = f"the answer has {len(text)} bytes; allowed {ANSWER_BYTES_MAX}"
        return _encode(_failure(answer["id"], RpcError(REFUSED, message)))
    return text
