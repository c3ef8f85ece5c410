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
        return check_key(node, None if credentials is None else credentials.credentials, scope)

    return key_of


def check_key(node: Node, plain: str | None, scope: str) -> ApiKey:
    """Return the key that a client sent.

    Raises
    ------
    ApiError
        401 without a known key, 403 when it lacks the scope.
    """
    if node.keys is None:
        return LOCAL_KEY
    if plain is None:
        message = "no key was given; send the header 'Authorization: Bearer olk_...'"
        raise ApiError(401, message, code="missing_api_key")
    key = node.keys.verify(plain)
    if key is None:
        raise ApiError(401, "the key is unknown or revoked", code="invalid_api_key")
    if not key.allows(scope):
        message = f"key {key.id} ({key.name}) may not do this; it needs the scope {scope}"
        raise ApiError(403, message, code="missing_scope")
    return key


InferenceKey = Annotated[ApiKey, Depends(require("inference"))]
ReadKey = Annotated[ApiKey, Depends(require("adapters:read"))]
WriteKey = Annotated[ApiKey, Depends(require("adapters:write"))]
UsageKey = Annotated[ApiKey, Depends(require("usage:read"))]
AdminKey = Annotated[ApiKey, Depends(require("admin"))]
