"""Every refusal as the OpenAI interface words it: one body, one status for each kind, and when to try again.

Rule: no answer leaves the node with another error body than `{"error": {message, type, param, code}}`, whoever refused:
a route, the framework's validation (400, never 422), an unknown path, or a fault of the node itself.
"""

from __future__ import annotations

import logging
import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from reference_node.serve.metrics import Metrics

logger = logging.getLogger(__name__)

KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
    500: "server_error",
    502: "upstream_error",
    503: "overloaded_error",
}
FRAMEWORK_CODES = {400: "invalid_value", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
INVALID = "invalid_request_error"
MESSAGES = {
    400: "The request is malformed, or asks for something that this node does not do",
    401: "The key is missing or unknown",
    403: "The key may not do this",
    404: "There is no such model, adapter or path",
    405: "The path exists, the method does not",
    409: "The state of the node forbids it",
    413: "The body is larger than allowed",
    429: "A quota is used up or the node is full; Retry-After says when to come back",
    500: "A fault of the node",
    502: "The upstream server failed",
    503: "The engine is not running, or the request waited too long; Retry-After says when to come back",
}


class ErrorFacts(BaseModel):
    """What went wrong: for people, for programs, and at which field."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """Body of every answer with a status of 400 or more."""

    error: ErrorFacts


class ApiError(Exception):
    """A refusal.

    Parameters
    ----------
    status, message
        HTTP status and the sentence for people.
    code, param
        Short name for programs, and the field at fault.
    retry_after_s
        When it is worth trying again; a whole number of seconds goes into the header.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, Any]:
        """Return the error body."""
        kind = KINDS.get(self.status, INVALID)
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """Return the answer with its headers."""
        headers = {}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after_s)))
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return JSONResponse(self.body(), self.status, headers=headers)


def bad_request(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """Return the refusal of a request that can never be served."""
    return ApiError(400, message, param=param, code=code)


def statuses(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Return the declaration of error statuses for a route's OpenAPI entry."""
    return {code: {"model": ErrorBody, "description": MESSAGES[code]} for code in sorted(codes)}


def install(app: FastAPI) -> None:
    """Make every failure of an application answer with the one error body."""
    app.add_exception_handler(ApiError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(Exception, _fault)


def refuse(metrics: Metrics, error: ApiError) -> JSONResponse:
    """Count a refusal and return its answer; codes and types are fixed sets, so that they may be labels."""
    metrics.refused(error.code or KINDS.get(error.status, INVALID))
    return error.response()


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return refuse(request.app.state.node.metrics, error)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return refuse(request.app.state.node.metrics, _malformed(error, request.headers.get("content-type", "")))


def _malformed(error: RequestValidationError, sent_as: str) -> ApiError:
    """Return the refusal of a body or query; a body that is no JSON object has no field at fault."""
    for entry in error.errors():
        if tuple(entry["loc"]) == ("body",) and entry["type"] != "missing":
            message = "the body is not a JSON object"
            if "json" not in sent_as:
                message = (
                    f"the body was sent as {sent_as[:80]!r}; send it with 'content-type: application/json'"
                )
            return bad_request(message, None, "invalid_value")
        if entry["type"] == "json_invalid":
            reason = entry.get("ctx", {}).get("error", "it cannot be read")
            message = f"the body is not JSON: {reason}, at character {entry['loc'][-1]}"
            return bad_request(message, None, "invalid_value")
    problems = [(_place(entry["loc"]), str(entry["msg"])) for entry in error.errors()]
    message = "; ".join(f"{place}: {text}" if place else text for place, text in problems[:8])
    return bad_request(message, problems[0][0] or None, "invalid_value")


async def _framework(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    path, headers = request.url.path, error.headers
    if error.status_code == 405:  # the framework names the methods of one route, a path may have several
        headers = {"allow": ", ".join(sorted(request.app.state.methods_of(path)))}
    if error.status_code in (404, 405):
        error = HTTPException(error.status_code, f"{request.method} {path}: {error.detail}", headers)
    return framework_answer(request.app.state.node.metrics, error)


def framework_answer(metrics: Metrics, error: HTTPException) -> JSONResponse:
    """Return the answer that a failure of the framework becomes."""
    code = FRAMEWORK_CODES.get(error.status_code)
    answer = refuse(metrics, ApiError(error.status_code, error.detail, code=code))
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


async def _fault(request: Request, error: Exception) -> JSONResponse:
    logger.error("fault while answering %s %s", request.method, request.url.path, exc_info=error)
    fault = ApiError(500, "internal error; the node's log has the details", code="internal")
    return refuse(request.app.state.node.metrics, fault)


def _place(loc: tuple[int | str, ...]) -> str:
    """Return a field's place as clients write it, without the part of the request it stands in."""
    parts = loc[1:] if loc and loc[0] in ("body", "query", "path", "header") else loc
    return ".".join(str(part) for part in parts if not (isinstance(part, str) and "[" in part))
