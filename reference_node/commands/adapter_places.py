"""Where `olsim node adapters` finds adapters: on a running node, or in a registry folder while no node runs.

Decided here: what is said of a version, the same from either place. A node that runs holds its registry's lock, so
changes go through it; commands that change a folder act as its administrator.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from models.errors import InputError
from reference_node.commands import need_packages
from reference_node.commands.chat import DEFAULT_URL, refusals

if TYPE_CHECKING:
    from reference_node.client import NodeClient
    from reference_node.config import ModelConfig
    from reference_node.manifest import AdapterManifest
    from reference_node.registry import Registry, Version

Facts = dict[str, Any]


class Place(Protocol):
    """Adapters under aliases; versions are facts, oldest first."""

    def listing(self) -> Facts:
        """Return the served version of every alias, the stored bytes, and what is damaged."""

    def versions(self, alias: str) -> tuple[list[Facts], int]:
        """Return the versions of an alias and the number of the one that it serves."""

    def rollback(self, alias: str, sha256: str) -> Facts:
        """Let an alias serve an earlier version, and return it."""

    def delete(self, alias: str, sha256: str | None) -> tuple[list[Facts], int | None]:
        """Delete versions; return them, and the number that the alias serves now."""


@contextmanager
def place(root: Path | None, url: str | None, key: str | None, *, writable: bool = False) -> Iterator[Place]:
    """Open a registry folder where one is named, else a running node; a URL that is given is what is meant.

    Raises
    ------
    InputError
        When it cannot be reached or opened, or refuses.
    """
    if root is not None and url is None:
        with open_registry(root, writable=writable) as registry:
            yield Folder(registry)
        return
    need_packages("httpx2")
    from reference_node.client import NodeClient

    with refusals(), NodeClient(url or DEFAULT_URL, key) as node:
        yield RunningNode(node)


class Folder:
    """A registry folder."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def listing(self) -> Facts:
        """Return the served version of every alias, the stored bytes, and what is damaged."""
        served = [facts(version) for version in self._registry.listing()]
        return {
            "adapters": served,
            "bytes": self._registry.usage(),
            "problems": list(self._registry.problems),
        }

    def versions(self, alias: str) -> tuple[list[Facts], int]:
        """Return the versions of an alias and the number of the one that it serves."""
        found = [facts(version) for version in self._registry.versions(alias)]
        return found, self._registry.served(alias).number

    def rollback(self, alias: str, sha256: str) -> Facts:
        """Let an alias serve an earlier version, and return it."""
        return facts(self._registry.rollback(alias, sha256, tenant="local", admin=True))

    def delete(self, alias: str, sha256: str | None) -> tuple[list[Facts], int | None]:
        """Delete versions; return them, and the number that the alias serves now."""
        gone = [facts(one) for one in self._registry.delete(alias, sha256, tenant="local", admin=True)]
        left = [one.number for one in self._registry.listing() if one.alias == alias]
        return gone, left[0] if left else None


class RunningNode:
    """A node that is asked over HTTP; its answers become the same facts."""

    def __init__(self, node: NodeClient) -> None:
        self._node = node

    def listing(self) -> Facts:
        """Return the served version of every alias; a node says nothing of its disk."""
        return {"adapters": [_of_answer(entry) for entry in self._node.adapters()], "problems": []}

    def versions(self, alias: str) -> tuple[list[Facts], int]:
        """Return the versions of an alias and the number of the one that it serves."""
        found = self._node.versions(alias)
        return [_of_answer(one) for one in found], next(int(one["version"]) for one in found if one["served"])

    def rollback(self, alias: str, sha256: str) -> Facts:
        """Let an alias serve an earlier version, and return it."""
        return _of_answer(self._node.rollback(alias, sha256))

    def delete(self, alias: str, sha256: str | None) -> tuple[list[Facts], int | None]:
        """Delete versions; return them, and the number that the alias serves now."""
        before, _ = self.versions(alias)
        gone = set(self._node.delete(alias, sha256))
        served = {entry["alias"]: int(entry["version"]) for entry in self._node.adapters()}
        return [one for one in before if one["sha256"] in gone], served.get(alias)


def open_registry(root: Path, shape: ModelConfig | None = None, *, writable: bool = True) -> Registry:
    """Open a registry for the base model it was made for, or make one for the given shape."""
    need_packages("torch")
    from reference_node.registry import Registry, stored_base

    if shape is not None:
        return Registry(root, shape, writable=writable)
    try:
        config, base_sha256 = stored_base(root)
    except InputError as error:
        raise InputError([*error.problems, "make one by adding an adapter with --base FOLDER"]) from error
    return Registry(root, config, base_sha256, writable=writable)


def facts(version: Version) -> Facts:
    """Return what is said of a version in a registry."""
    return {
        "alias": version.alias,
        "version": version.number,
        "sha256": version.sha256,
        "created": version.created,
        "tenant": version.tenant,
        "bytes": version.bytes,
        "rank": version.rank,
        "targets": list(version.targets),
        **_paid(version.manifest),
    }


def payees(manifest: AdapterManifest | None) -> list[dict[str, str]]:
    """Return who is paid, with exact shares such as `3/8`."""
    found = manifest.payees() if manifest else ()
    return [{"part": one.part, "share": str(one.share), "address": one.address} for one in found]


def _of_answer(entry: Mapping[str, Any]) -> Facts:
    """Return the same of a version as a node describes it."""
    from reference_node.manifest import parse_manifest

    names = ("alias", "version", "sha256", "created", "tenant", "bytes", "rank", "targets")
    manifest = entry["manifest"]
    parsed = None if manifest is None else parse_manifest(json.dumps(manifest).encode(), where=entry["alias"])
    return {**{name: entry[name] for name in names}, **_paid(parsed)}


def _paid(manifest: AdapterManifest | None) -> Facts:
    return {
        "owner": manifest.owner if manifest else None,
        "datanets": {net.id: net.share_bps for net in manifest.datanets} if manifest else {},
        "payees": payees(manifest),
    }
