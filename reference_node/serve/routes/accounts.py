"""Usage, bills and settlements.

Rule: a tenant sees its own use and its own bills; only an administrator sees everybody's and closes an epoch.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from itertools import islice
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from models.errors import InputError
from reference_node.billing import close_epoch
from reference_node.billing.settlement_file import latest_settlement
from reference_node.serve.auth import AdminKey, NodeOf, UsageKey
from reference_node.serve.errors import ApiError, statuses
from reference_node.serve.routes.checked import CheckedRoute

router = APIRouter(tags=["accounts"], route_class=CheckedRoute)
ERRORS = statuses(401, 403, 500)
MS_MAX = 1 << 53
BILLS_MAX = 1_000


class UsageSums(BaseModel):
    """Sums over settled requests; amounts in gwei."""

    requests: int
    tokens_in: int
    cached_tokens: int
    tokens_out: int
    fee_gwei: int


class UsageAnswer(UsageSums):
    """Answer of /v1/usage; `by_adapter` by content hash, "base" without one, hashes joined by + for an ensemble."""

    object: Literal["usage"]
    tenant: str | None
    since_ms: int
    by_adapter: dict[str, UsageSums]


class BillEntry(BaseModel):
    """One bill; amounts in gwei."""

    request_id: str
    key_id: str
    ts: int
    tokens_in: int
    cached_tokens: int
    tokens_out: int
    fee_gwei: int
    parts_gwei: dict[str, int]
    payees_gwei: dict[str, int]


class BillList(BaseModel):
    """Answer of /v1/billing, newest first; `has_more` says that older ones are in the log alone."""

    object: Literal["list"]
    tenant: str
    data: list[BillEntry]
    has_more: bool


class SettlementAnswer(BaseModel):
    """Answer of /v1/settlements: the file, as it was written."""

    file: str
    sha256: str
    settlement: dict[str, Any]


@router.get("/v1/usage", responses={200: {"model": UsageAnswer}, **ERRORS, **statuses(400)})
async def usage(
    node: NodeOf,
    key: UsageKey,
    since: Annotated[int | None, Query(ge=0, le=MS_MAX, description="Unix milliseconds")] = None,
    scope: Annotated[Literal["tenant", "key", "all"], Query()] = "tenant",
) -> dict[str, Any]:
    """Say what the key, its tenant or, for administrators, everybody used."""
    if scope == "all" and not key.allows("admin"):
        raise ApiError(403, "scope=all needs the scope admin", code="missing_scope", param="scope")
    found = await asyncio.to_thread(
        node.log.usage,
        key.id if scope == "key" else None,
        None if scope == "all" else key.tenant,
        since,
    )
    return {
        "object": "usage",
        "tenant": None if scope == "all" else key.tenant,
        "since_ms": found.since_ms,
        **asdict(found.total),
        "by_adapter": {name: asdict(sums) for name, sums in found.by_adapter.items()},
    }


@router.get("/v1/billing", responses={200: {"model": BillList}, **ERRORS, **statuses(400)})
async def billing(
    node: NodeOf, key: UsageKey, limit: Annotated[int, Query(ge=1, le=BILLS_MAX)] = 100
) -> dict[str, Any]:
    """List the newest bills of the key's tenant."""
    found = list(islice(node.bills.newest_of(key.tenant), limit + 1))
    return {
        "object": "list",
        "tenant": key.tenant,
        "data": [kept.document() for kept in found[:limit]],
        "has_more": len(found) > limit or node.bills.dropped,
    }


@router.post("/v1/settlements", responses={200: {"model": SettlementAnswer}, **ERRORS, **statuses(409)})
async def settle(node: NodeOf, key: AdminKey) -> dict[str, Any]:
    """Close the epoch: settle everything that was billed since the last one."""
    try:
        before = await asyncio.to_thread(latest_settlement, node.epochs)
        settlement = await asyncio.to_thread(close_epoch, node.log, node.epochs)
    except InputError as error:
        raise ApiError(409, str(error), code="nothing_to_settle") from error
    if before is not None and settlement.epoch == before.epoch:
        message = f"nothing was billed since epoch {before.epoch}, which settled {before.log_size} records"
        raise ApiError(409, message, code="nothing_to_settle")
    return {
        "file": settlement.path.name,
        "sha256": settlement.sha256,
        "settlement": settlement.document,
    }
