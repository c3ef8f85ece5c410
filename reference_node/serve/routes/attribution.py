"""Attribution of an answer, for the tenant that asked for it.

Rule: only the newest answers are kept, and nobody sees another tenant's: both are 404, so that an id says nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel

from reference_node.serve.auth import NodeOf, UsageKey
from reference_node.serve.errors import ApiError, statuses
from reference_node.serve.routes.checked import CheckedRoute

router = APIRouter(tags=["attribution"], route_class=CheckedRoute)


class Holder(BaseModel):
    """A contributor of a DataNet; names of restricted ones are blinded."""

    datanet: str
    contributor: str
    address: str


class Weight(Holder):
    """Weight of 10^9 that the record carries."""

    weight: int


class Share(Holder):
    """Part of the contributors' money by one method."""

    share: float


class SpanSource(Holder):
    """A document that holds a span."""

    document: str


class Span(BaseModel):
    """Words of the answer that stand in the corpus: its tokens `start` to below `stop`, and how often."""

    start: int
    stop: int
    count: int
    sources: list[SpanSource]


class AttributionAnswer(BaseModel):
    """Answer of /v1/attributions; `method` and `weights` are recorded, `methods` stand beside them."""

    object: Literal["attribution"]
    request_id: str
    adapter: str
    method: str
    took_ms: float
    tokens: list[str]
    weights: list[Weight]
    methods: dict[str, list[Share]]
    spans: list[Span]


@router.get(
    "/v1/attributions/{request_id}",
    responses={200: {"model": AttributionAnswer}, **statuses(401, 403, 404, 500)},
)
async def attribution(
    node: NodeOf, key: UsageKey, request_id: Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
) -> dict[str, Any]:
    """Say whose data an answer rests on, by every method, and which of its words stand where."""
    desk = node.attribution
    found = None if desk is None else await desk.explanation(request_id, key.tenant)
    if found is None:
        why = (
            "this node attributes nothing"
            if desk is None
            else "it is not among the newest attributed answers"
        )
        raise ApiError(404, f"no attribution of {request_id}: {why}", code="not_found", param="request_id")
    return found
