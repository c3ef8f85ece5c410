"""Who asks: the bearer key of a request and what it may do.

Rule: a missing or unknown key is 401, a key without the scope is 403; a node without keys serves everybody as one local
tenant, and such a node listens on the loopback address alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from reference_node.access import ApiKey
from reference_node.serve.errors import ApiError
from reference_node.serve.node import LOCAL_KEY, Node

_bearer = HTTPBearer(auto_error=False, description="API key of the node")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def the_node(request: Request) -> Node:
    """Return the node that an application serves."""
    node = request.app.state.node
    assert isinstance(node, Node)
    return node


NodeOf = Annotated[Node, Depends(the_node)]


def require(scope: str) -> Callable[[Node, HTTPAuthorizationCredentials | None], ApiKey]:
    """Return the dependency that gives a route its key, if the key has a scope."""

    def key_of(node: NodeOf, credentials: Credentials) -> ApiKey:
        if node.keys is None:
            return LOCAL_KEY
        if credentials is None:
            raise ApiError(
                401,
                "no key was given; send the header 'Authorization: Bearer olk_...'",
                code="missing_api_key",
            )
        key = node.keys.verify(credentials.credentials)
        if key is None:
            raise ApiError(401, "the key is unknown or revoked", code="invalid_api_key")
        if not key.allows(scope):
            message = f"key {key.id} ({key.name}) may not do this; it needs the scope {scope}"
            raise ApiError(403, message, code="missing_scope")
        return key

    return key_of


InferenceKey = Annotated[ApiKey, Depends(require("inference"))]
ReadKey = Annotated[ApiKey, Depends(require("adapters:read"))]
WriteKey = Annotated[ApiKey, Depends(require("adapters:write"))]
UsageKey = Annotated[ApiKey, Depends(require("usage:read"))]
AdminKey = Annotated[ApiKey, Depends(require("admin"))]
