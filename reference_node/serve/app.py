"""The application: routes, the size of bodies, and what OpenAPI says about refusals.

Rule: a body is counted as it arrives, whatever its header claims, and one that is too large is refused before anything
reads it to its end. A large body is read for a key that may upload and for nobody else.
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
from reference_node.serve.auth import check_key
from reference_node.serve.errors import ApiError
from reference_node.serve.node import Node
from reference_node.serve.routes import accounts, adapters, attribution, health, inference, models

ROUTERS = (
    inference.router,
    models.router,
    adapters.router,
    accounts.router,
    attribution.router,
    health.router,
)
UPLOADS = "/v1/adapters"


class BodyLimit:
    """Refuses bodies that are larger than allowed.

    Parameters
    ----------
    app
        What answers the others.
    node
        Its limits say how many bytes, its keys who may upload.
    """

    def __init__(self, app: ASGIApp, node: Node) -> None:
        self._app, self._node = app, node

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what the application reads."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limits, seen = self._node.limits, 0
        allowed = limits.body_bytes
        if scope["path"] == UPLOADS and scope["method"] == "POST":
            allowed = limits.upload_bytes
            try:
                check_key(self._node, _bearer(scope), "adapters:write")
            except ApiError as error:
                await errors.refuse(self._node.metrics, error)(scope, receive, send)
                return

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > allowed:
                raise _too_large(allowed)
            return message

        announced = _header(scope, b"content-length")
        if announced.isdigit() and int(announced) > allowed:
            answer = errors.framework_answer(self._node.metrics, _too_large(allowed))
            await answer(scope, receive, send)
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
    app.add_middleware(BodyLimit, node=node)
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


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _bearer(scope: Scope) -> str | None:
    kind, _, key = _header(scope, b"authorization").partition(" ")
    return key.strip() if kind.lower() == "bearer" and key else None


def _too_large(allowed: int) -> HTTPException:
    return HTTPException(413, f"the body is larger than the {allowed} bytes that are allowed")
