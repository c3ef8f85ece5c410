"""Attribution of an answer and the proof of its record, for the tenant that asked for it.

Rule: only the newest answers are kept, and nobody sees another tenant's: both are 404, so that an id says nothing. A
proof reads the whole log, so a long one is proved by the command and not here.
"""

from __future__ import annotations

import asyncio
from pathlib import Path as Folder
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel

from reference_node.billing.claim import RecordProof, prove_record
from reference_node.billing.reading import LogReader
from reference_node.serve.auth import NodeOf, UsageKey
from reference_node.serve.errors import ApiError, statuses
from reference_node.serve.routes.checked import CheckedRoute

router = APIRouter(tags=["attribution"], route_class=CheckedRoute)
PROVED_MAX = 100_000
"""Records of a log that is read to make a proof."""


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
    """Answer of /v1/attributions: what is recorded, and all methods beside it.

    The record names the largest weights; `residual` is what they leave of 10^9, paid by the manifest's shares.
    """

    object: Literal["attribution"]
    request_id: str
    adapter: str
    method: str
    took_ms: float
    tokens: list[str]
    weights: list[Weight]
    residual: int
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


class ProofAnswer(BaseModel):
    """Answer of /v1/proofs: the record (hexadecimal), and its RFC 9162 path to the root of the log's first `size`."""

    object: Literal["proof"]
    request_id: str
    seq: int
    size: int
    root: str
    record: str
    path: list[str]


@router.get(
    "/v1/proofs/{request_id}",
    responses={200: {"model": ProofAnswer}, **statuses(401, 403, 404, 409, 500)},
)
async def proof(
    node: NodeOf, key: UsageKey, request_id: Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
) -> dict[str, Any]:
    """Show that a request of the key's tenant is in the log."""
    if not any(kept.bill.request_id == request_id for kept in node.bills.newest_of(key.tenant)):
        message = f"no bill of {request_id} is among the newest of tenant {key.tenant}"
        raise ApiError(404, message, code="not_found", param="request_id")
    if node.log.size > PROVED_MAX:
        message = (
            f"the log has {node.log.size} records; beyond {PROVED_MAX} a proof is made by olsim node prove"
        )
        raise ApiError(409, message, code="log_too_long")
    found, root = await asyncio.to_thread(_prove, node.log.folder, bytes.fromhex(request_id))
    return {
        "object": "proof",
        "request_id": request_id,
        "seq": found.seq,
        "size": found.size,
        "root": root.hex(),
        "record": found.data.hex(),
        "path": [one.hex() for one in found.path],
    }


def _prove(folder: Folder, request_id: bytes) -> tuple[RecordProof, bytes]:
    seq = next(e.record.seq for e in LogReader(folder).entries() if e.record.request_id == request_id)
    return prove_record(folder, seq)
