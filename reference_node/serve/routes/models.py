"""The names that `model` may have."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from reference_node.registry import Resolved, UnknownModelError
from reference_node.registry.index import BASE
from reference_node.serve.answers import Model, ModelList
from reference_node.serve.auth import InferenceKey, NodeOf
from reference_node.serve.errors import ApiError, statuses
from reference_node.serve.node import Node

router = APIRouter(tags=["models"])
ERRORS = statuses(401, 403, 500)


@router.get("/v1/models", responses={200: {"model": ModelList}, **ERRORS})
async def models(node: NodeOf, key: InferenceKey) -> dict[str, Any]:
    """List the base model and every adapter alias, with the hash that each means now."""
    base = _entry(node, node.registry.resolve(BASE))
    served = [
        Resolved(version.alias, version.alias, version.sha256, version) for version in node.registry.listing()
    ]
    return {"object": "list", "data": [base, *(_entry(node, found) for found in served)]}


@router.get("/v1/models/{model:path}", responses={200: {"model": Model}, **ERRORS, **statuses(400, 404)})
async def model(model: str, node: NodeOf, key: InferenceKey) -> dict[str, Any]:
    """Say what one name means now."""
    try:
        return _entry(node, node.registry.resolve(model))
    except UnknownModelError as error:
        raise ApiError(404, str(error), code="model_not_found", param="model") from error


def _entry(node: Node, found: Resolved) -> dict[str, Any]:
    version = found.version
    return {
        "id": found.model,
        "object": "model",
        "created": node.started if version is None else version.created,
        "owned_by": "node" if version is None else version.tenant,
        "sha256": found.sha256 or node.base_sha256,
        "parent": None if version is None else BASE,
    }
