"""The registry: which adapters a node serves, under which names, for whom, and until when.

An upload is validated as bytes before anything touches the disk, stored under its content hash, and becomes the newest
version of its alias in one step. A deletion hides its version at once; the bytes go when the last request that holds
them is over. Readers never wait for writers: they look into an index that is replaced, never changed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reference_node.adapter_checks import RANK_MAX
from reference_node.adapters import read_bounded, read_files
from reference_node.config import ModelConfig
from reference_node.manifest import MANIFEST_FILE
from reference_node.manifest_reader import MANIFEST_BYTES_MAX
from reference_node.registry.budgets import Budgets
from reference_node.registry.draft import Draft, make_draft
from reference_node.registry.errors import UnknownModelError
from reference_node.registry.index import Index, Resolved, Version, check_alias, object_names
from reference_node.registry.index_file import encode_index
from reference_node.registry.opening import open_contents
from reference_node.registry.shelf import Shelf
from reference_node.registry.store import Store


class Registry:
    """The adapters of one base model in one folder; safe to use from several threads.

    Parameters
    ----------
    root
        Folder of the registry, made when missing.
    config
        Shape of the base model that adapters must fit.
    base_sha256
        Hash of the base model, "" when unknown; a folder made for another base is refused.
    budgets
        Limits in bytes and entries.
    rank_max
        Largest rank accepted.
    on_delete
        Called with a content hash when its last version is deleted, before its bytes go.
    clock
        Unix seconds.
    writable
        False reads beside a running node: no lock, no cleaning, no changes.

    Raises
    ------
    InputError
        When the folder is no registry, belongs to another base, or is written by another process.
    """

    def __init__(
        self,
        root: Path,
        config: ModelConfig,
        base_sha256: str = "",
        *,
        budgets: Budgets | None = None,
        rank_max: int = RANK_MAX,
        on_delete: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.time,
        writable: bool = True,
    ) -> None:
        self.root, self.config = root, config
        self.budgets, self.rank_max, self.on_delete = budgets or Budgets(), rank_max, on_delete
        self._clock = clock
        self._writer = threading.RLock()  # one change at a time, its disk writes included
        self._store = Store(root, writable=writable)
        try:
            contents = open_contents(self._store, config, base_sha256)
        except BaseException:
            self._store.close()
            raise
        self.base_sha256, self._index, self._damaged = contents.base_sha256, contents.index, contents.damaged
        self._shelf = Shelf(self._store, contents.sizes, object_names(self._index.versions()))

    def close(self) -> None:
        """Give the folder's lock back."""
        self._store.close()

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with versions that the index names: they are listed, and never served."""
        return tuple(
            f"{version.alias} version {version.number}: {fault}"
            for version in self._index.versions()
            if (fault := self._fault(version))
        )

    def upload(
        self,
        alias: str,
        weights: bytes,
        config_json: bytes,
        manifest_json: bytes | None,
        tenant: str,
        *,
        admin: bool = False,
        tenant_bytes: int | None = None,
    ) -> Version:
        """Validate and store an adapter as the newest version of an alias, which serves it from now on.

        The same content and manifest under the same alias is the same version, and no second one is made.

        Parameters
        ----------
        alias
            Name to serve it under: `[a-z0-9][a-z0-9._-]{0,63}`.
        weights, config_json, manifest_json
            Content of the three files; no manifest means that the owner is unknown.
        tenant
            Whose it is; only this tenant, or an administrator, may change the alias later.
        admin
            The caller may change other tenants' aliases; what it adds there counts as theirs.
        tenant_bytes
            A lower limit of stored bytes for this tenant.

        Raises
        ------
        InputError
            With every reason for which the files are refused.
        NotOwnerError, BudgetError
            When the alias is another tenant's, or a budget is exceeded.
        """
        check_alias(alias)
        self._index.check_owner(alias, tenant, admin=admin)
        self.budgets.check_upload(len(weights) + len(config_json) + len(manifest_json or b""))
        draft = make_draft(
            weights,
            config_json,
            manifest_json,
            config=self.config,
            rank_max=self.rank_max,
            base_sha256=self.base_sha256,
        )
        with self._writer:
            self._index.check_owner(alias, tenant, admin=admin)
            return self._add(alias, draft, tenant, tenant_bytes)

    def adopt(
        self, folder: Path, *, alias: str | None = None, tenant: str = "local", admin: bool = True
    ) -> Version:
        """Store a copy of a peft folder, with its `manifest.json` if there is one, under an alias.

        The alias is the folder's name unless another is given; the other rules are those of `upload`.
        """
        weights, config_json = read_files(folder, self.config, rank_max=self.rank_max)
        manifest, path = None, folder / MANIFEST_FILE
        if path.exists():
            manifest = read_bounded(path, MANIFEST_BYTES_MAX, "the adapter's manifest")
        name = folder.resolve().name.lower() if alias is None else alias
        return self.upload(name, weights, config_json, manifest, tenant, admin=admin)

    def resolve(self, model: str) -> Resolved:
        """Return what a model name means now; nothing keeps it from being deleted the next moment.

        Raises
        ------
        UnknownModelError
            When it means nothing, more than one version, or a version that is damaged on disk.
        """
        resolved = self._index.resolve(model)
        if resolved.version is not None and (fault := self._fault(resolved.version)):
            raise UnknownModelError(f"model {model!r} cannot be served: {fault}; upload it again")
        return resolved

    def hold(self, model: str) -> Resolved:
        """Return what a model name means now, and keep its bytes until `release`: for a request in flight."""
        while True:
            resolved = self.resolve(model)
            if resolved.sha256 is None or self._shelf.hold(resolved.sha256):
                return resolved

    def release(self, sha256: str | None) -> None:
        """End one `hold`; the bytes of a deleted adapter go with its last one."""
        if sha256 is not None:
            self._shelf.release(sha256)

    def folder(self, sha256: str) -> Path:
        """Return the folder of an adapter, in peft's format."""
        return self._store.folder(sha256)

    def versions(self, alias: str) -> tuple[Version, ...]:
        """Return the versions of an alias, oldest first.

        Raises
        ------
        UnknownModelError
            When the alias has none.
        """
        return self._index.entry(alias).versions

    def served(self, alias: str) -> Version:
        """Return the version that the bare alias means; raise `UnknownModelError` when it has none."""
        return self._index.entry(alias).served()

    def listing(self) -> tuple[Version, ...]:
        """Return the version that each alias serves, by alias."""
        return tuple(entry.served() for _, entry in sorted(self._index.aliases.items()) if entry.versions)

    def usage(self, tenant: str | None = None) -> int:
        """Return the bytes that a tenant stores, or all bytes on disk."""
        names = None if tenant is None else object_names(self._index.versions(), tenant)
        return sum(self._shelf.sizes(names).values())

    def rollback(self, alias: str, sha256: str, *, tenant: str, admin: bool = False) -> Version:
        """Let an alias serve the newest of its versions whose hash begins with the given digits (8 or more).

        Raises
        ------
        UnknownModelError, NotOwnerError
            When there is no such version, or the alias is another tenant's.
        """
        with self._writer:
            version = self._index.match(alias, sha256)
            self._index.check_owner(alias, tenant, admin=admin)
            self._commit(self._index.serving(version))
            return version

    def delete(
        self, alias: str, sha256: str | None = None, *, tenant: str, admin: bool = False
    ) -> tuple[Version, ...]:
        """Delete an alias, or its versions whose hash begins with the given digits; return what was deleted.

        An alias that served a deleted version serves the newest one before it, or the newest of all. The alias itself
        stays its tenant's.

        Raises
        ------
        UnknownModelError, NotOwnerError
            When there is no such version, or the alias is another tenant's.
        """
        with self._writer:
            full = None if sha256 is None else self._index.match(alias, sha256).sha256
            before = self.versions(alias)
            self._index.check_owner(alias, tenant, admin=admin)
            self._commit(self._index.without(alias, full))
            return tuple(version for version in before if full in (None, version.sha256))

    def _add(self, alias: str, draft: Draft, tenant: str, tenant_bytes: int | None) -> Version:
        """Store a draft as the version that an alias serves; the caller is the writer."""
        known = self._index.aliases.get(alias)
        for version in reversed(known.versions if known else ()):
            if (version.sha256, version.manifest_sha256) == (draft.adapter.sha256, draft.manifest_sha256):
                self._store_draft(draft, self._index.serving(version))
                return version
        owner, sizes = known.tenant if known else tenant, draft.sizes()
        self.budgets.check_entries(self._index, alias, owner)
        self.budgets.check_bytes(
            sizes,
            of_tenant=self._shelf.sizes(object_names(self._index.versions(), owner)),
            on_disk=self._shelf.sizes(),
            tenant_bytes=tenant_bytes,
        )
        number = known.next_number if known else 1
        version = draft.version(alias, number, created=int(self._clock()), tenant=owner)
        self._store_draft(draft, self._index.added(version))
        return version

    def _store_draft(self, draft: Draft, index: Index) -> None:
        """Write the objects, then the index that names them; on failure neither is to be seen."""
        written: list[str] = []
        try:
            for name, files in draft.objects.items():
                self._shelf.put(name, files)
                written.append(name)
                self._damaged.pop(name, None)
            self._commit(index)
        finally:
            for name in written:
                self._shelf.release(name)

    def _commit(self, index: Index) -> None:
        """Make an index the one on disk and in memory, and let go of what it names no more."""
        self._store.write_index(encode_index(index, self.config, self.base_sha256))
        before, self._index = self._index, index
        served = {version.sha256 for version in index.versions()}
        try:
            for sha256 in sorted({version.sha256 for version in before.versions()} - served):
                if self.on_delete is not None:
                    self.on_delete(sha256)
        finally:
            self._shelf.keep(object_names(index.versions()))

    def _fault(self, version: Version) -> str | None:
        return self._damaged.get(version.sha256) or self._damaged.get(version.manifest_sha256 or "")
