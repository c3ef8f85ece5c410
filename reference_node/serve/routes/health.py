"""Whether the node lives, whether it takes requests, and its metrics.

Rule: liveness is the engine's; a node that drains lives and is not ready. Metrics name every adapter that is served, so
they need an administrator's key where keys are in use; health needs none.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response

from reference_node.serve.answers import HealthAnswer
from reference_node.serve.auth import AdminKey, NodeOf
from reference_node.serve.errors import statuses
from reference_node.serve.node import Node

router = APIRouter(tags=["health"])
DOWN: dict[int | str, dict[str, Any]] = {
    503: {"model": HealthAnswer, "description": "The node does not serve"}
}
EXPOSITION: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus exposition"}
}


@router.get("/health", responses={200: {"model": HealthAnswer}, **DOWN})
async def health(node: NodeOf) -> Response:
    """Say whether the engine lives."""
    return _state(node, ready=False)


@router.get("/health/ready", responses={200: {"model": HealthAnswer}, **DOWN})
async def ready(node: NodeOf) -> Response:
    """Say whether the node takes requests."""
    return _state(node, ready=True)


@router.get("/metrics", responses={**EXPOSITION, **statuses(401, 403, 500)}, response_class=Response)
async def metrics(node: NodeOf, key: AdminKey) -> Response:
    """Return the metrics in Prometheus' text format."""
    return Response(node.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _state(node: Node, *, ready: bool) -> Response:
    failure = node.failure or node.backend.failure()
    status = "dead" if failure else "draining" if node.draining else "ok"
    figures = node.metrics.engine_figures
    body = {
        "status": status,
        "detail": failure,
        "base_sha256": node.base_sha256,
        "waiting": int(figures.get("queue_requests", 0)),
        "running": int(figures.get("running_requests", 0)),
    }
    down = status == "dead" or (ready and status != "ok")
    return JSONResponse(body, 503 if down else 200)
