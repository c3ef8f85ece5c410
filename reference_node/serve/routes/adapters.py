"""Adapters: upload, list, versions, rollback, delete.

Rule: an upload is bytes and never a path; what an alias means changes for the next request, never for one in flight.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Query, UploadFile
from pydantic import BaseModel, Field

from models.errors import InputError
from reference_node.registry import BudgetError, NotOwnerError, UnknownModelError, Version
from reference_node.registry.index import ALIAS
from reference_node.serve.auth import NodeOf, ReadKey, WriteKey
from reference_node.serve.backend import DeadError
from reference_node.serve.errors import ApiError, bad_request, statuses
from reference_node.serve.node import Node
from reference_node.serve.routes.checked import CheckedRoute
from reference_node.serve.schemas import Strict

router = APIRouter(tags=["adapters"], route_class=CheckedRoute)
ERRORS = statuses(401, 403, 500)


class AdapterVersion(BaseModel):
    """One version under an alias; `manifest` says who is paid when it serves."""

    alias: str
    version: int
    sha256: str
    model: str
    served: bool
    created: int
    tenant: str
    bytes: int
    rank: int
    targets: list[str]
    manifest: dict[str, Any] | None


class AdapterEntry(AdapterVersion):
    """The version that an alias serves, and the hashes of all its versions."""

    versions: list[str]


class AdapterList(BaseModel):
    """Answer of GET /v1/adapters."""

    object: str
    data: list[AdapterEntry]


class VersionList(BaseModel):
    """Answer of GET /v1/adapters/{alias}, oldest version first."""

    object: str
    alias: str
    data: list[AdapterVersion]


class Deleted(BaseModel):
    """Answer of DELETE /v1/adapters/{alias}."""

    alias: str
    deleted: list[str]


class Rollback(Strict):
    """Body of POST /v1/adapters/{alias}/rollback."""

    sha256: str = Field(min_length=8, max_length=64, description="the version's hash, or its first digits")


@router.post(
    "/v1/adapters",
    status_code=201,
    responses={201: {"model": AdapterVersion}, **ERRORS, **statuses(400, 413, 503)},
)
async def upload(
    node: NodeOf,
    key: WriteKey,
    alias: Annotated[str, Form(description="name to serve it under", pattern=f"^{ALIAS.pattern}$")],
    weights: Annotated[UploadFile, File(description="adapter_model.safetensors")],
    config: Annotated[UploadFile, File(description="adapter_config.json")],
    manifest: Annotated[UploadFile | None, File(description="manifest.json: who is paid")] = None,
) -> dict[str, Any]:
    """Store a peft adapter as the newest version of an alias, which serves it from now on."""
    async with node.uploading:
        known = _hashes(node, alias)
        files = await weights.read(), await config.read(), None if manifest is None else await manifest.read()
        try:
            version = await asyncio.to_thread(
                node.registry.upload,
                alias,
                *files,
                key.tenant,
                admin=key.allows("admin"),
                tenant_bytes=key.quota.stored_bytes,
            )
        except InputError as error:
            raise _refusal(error) from error
        try:
            await _warm(node, version)
        except InputError as error:
            if version.sha256 not in known:  # an alias must not mean what can never be served
                with suppress(InputError):  # deleted meanwhile
                    await asyncio.to_thread(
                        node.registry.delete,
                        alias,
                        version.sha256,
                        tenant=key.tenant,
                        admin=key.allows("admin"),
                    )
            raise bad_request(str(error), "weights", "invalid_adapter") from error
    return _facts(version, served=True)


@router.get("/v1/adapters", responses={200: {"model": AdapterList}, **ERRORS})
async def adapters(node: NodeOf, key: ReadKey) -> dict[str, Any]:
    """List every alias with the version it serves, its DataNets and owners."""
    entries = []
    for version in node.registry.listing():
        with suppress(UnknownModelError):  # deleted while the list is made
            hashes = [other.sha256 for other in node.registry.versions(version.alias)]
            entries.append({**_facts(version, served=True), "versions": hashes})
    return {"object": "list", "data": entries}


@router.get("/v1/adapters/{alias}", responses={200: {"model": VersionList}, **ERRORS, **statuses(400, 404)})
async def versions(alias: str, node: NodeOf, key: ReadKey) -> dict[str, Any]:
    """List the versions of one alias."""
    try:
        found, current = node.registry.versions(alias), node.registry.resolve(alias).version
    except InputError as error:
        raise _refusal(error) from error
    data = [_facts(version, served=version == current) for version in found]
    return {"object": "list", "alias": alias, "data": data}


@router.post(
    "/v1/adapters/{alias}/rollback",
    responses={200: {"model": AdapterVersion}, **ERRORS, **statuses(400, 404, 413)},
)
async def rollback(alias: str, body: Rollback, node: NodeOf, key: WriteKey) -> dict[str, Any]:
    """Let an alias serve one of its versions from now on."""
    try:
        version = await asyncio.to_thread(
            node.registry.rollback, alias, body.sha256, tenant=key.tenant, admin=key.allows("admin")
        )
    except InputError as error:
        raise _refusal(error) from error
    return _facts(version, served=True)


@router.delete("/v1/adapters/{alias}", responses={200: {"model": Deleted}, **ERRORS, **statuses(400, 404)})
async def delete(
    alias: str,
    node: NodeOf,
    key: WriteKey,
    sha256: Annotated[str | None, Query(min_length=8, max_length=64)] = None,
) -> dict[str, Any]:
    """Delete an alias or one of its versions; requests in flight are finished with it."""
    try:
        gone = await asyncio.to_thread(
            node.registry.delete, alias, sha256, tenant=key.tenant, admin=key.allows("admin")
        )
    except InputError as error:
        raise _refusal(error) from error
    return {"alias": alias, "deleted": [version.sha256 for version in gone]}


async def _warm(node: Node, version: Version) -> None:
    """Let the backend read a new adapter before the first request asks for it.

    Raises
    ------
    InputError
        When the backend refuses it.
    """
    with suppress(UnknownModelError, DeadError):  # deleted meanwhile; or the first request will load it
        held = node.hold(f"{version.alias}@sha256:{version.sha256}")
        try:
            await node.backend.register(version.sha256, node.registry.folder(version.sha256))
        finally:
            node.let_go([held.sha256] if held.sha256 else [])


def _hashes(node: Node, alias: str) -> set[str]:
    """Return the versions that an alias has before an upload."""
    try:
        return {version.sha256 for version in node.registry.versions(alias)}
    except InputError:
        return set()


def _refusal(error: InputError) -> ApiError:
    if isinstance(error, UnknownModelError):
        return ApiError(404, str(error), code="model_not_found", param="alias")
    if isinstance(error, NotOwnerError):
        return ApiError(403, str(error), code="not_owner", param="alias")
    if isinstance(error, BudgetError):
        return ApiError(413, str(error), code="budget_exceeded")
    return bad_request(str(error), error.problems[0].path or None, "invalid_adapter")


def _facts(version: Version, *, served: bool) -> dict[str, Any]:
    return {
        "alias": version.alias,
        "version": version.number,
        "sha256": version.sha256,
        "model": f"{version.alias}@sha256:{version.sha256}",
        "served": served,
        "created": version.created,
        "tenant": version.tenant,
        "bytes": version.bytes,
        "rank": version.rank,
        "targets": list(version.targets),
        "manifest": None if version.manifest is None else version.manifest.shown(),
    }
