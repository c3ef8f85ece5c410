"""The application: routes, the size of bodies, and what OpenAPI says about refusals.

Rule: a body is counted as it arrives, whatever its header claims, and one that is too large is refused before anything
reads it to its end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reference_node.serve import errors
from reference_node.serve.limits import Limits
from reference_node.serve.node import Node
from reference_node.serve.routes import accounts, adapters, health, inference, models

ROUTERS = (inference.router, models.router, adapters.router, accounts.router, health.router)
UPLOADS = "/v1/adapters"


class BodyLimit:
    """Refuses bodies that are larger than allowed.

    Parameters
    ----------
    app
        What answers the others.
    limits
        Bytes of a body and of an upload.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what the application reads."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        upload = scope["path"] == UPLOADS
        allowed, seen = self._limits.upload_bytes if upload else self._limits.body_bytes, 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > allowed:
                raise _too_large(allowed)
            return message

        if _announced(scope) > allowed:
            await errors.framework_answer(_too_large(allowed))(scope, receive, send)
            return
        await self._app(scope, counted, send)


def create_app(node: Node) -> FastAPI:
    """Return the application that serves a node."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await node.start()
        yield
        await node.stop()

    app = FastAPI(title="olsim reference node", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.node, app.state.methods_of = node, methods_of
    errors.install(app)
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(BodyLimit, limits=node.limits)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def methods_of(path: str) -> set[str]:
    """Return the methods that a path has."""
    routes = (route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute))
    return {method for route in routes if route.path_regex.match(path) for method in route.methods or ()}


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the description without the framework's own 422, which this node never answers."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
        for operations in schema["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(name, None)
        app.openapi_schema = schema
    return app.openapi_schema


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def _too_large(allowed: int) -> HTTPException:
    return HTTPException(413, f"the body is larger than the {allowed} bytes that are allowed")
