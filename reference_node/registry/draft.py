"""An upload between its bytes and its place in the registry: validated, named, and packed the node's own way.

What is stored is written anew from the accepted tensors and settings, so that nothing else that a stranger put into the
files (metadata, ignored settings, layout) ever reaches the disk, and the bytes are a function of the content hash.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from models.errors import InputError, Problem
from reference_node.adapters import CONFIG_FILE, WEIGHTS_FILE, Adapter, pack_adapter, parse_adapter
from reference_node.config import ModelConfig
from reference_node.manifest import MANIFEST_FILE, AdapterManifest, parse_manifest
from reference_node.registry.index import Version


@dataclass(frozen=True, slots=True)
class Draft:
    """A validated upload.

    Parameters
    ----------
    adapter, manifest, manifest_sha256
        What was uploaded; the last two are None without a manifest.
    objects
        Files by name, by hash of the object that holds them.
    """

    adapter: Adapter
    manifest: AdapterManifest | None
    manifest_sha256: str | None
    objects: dict[str, dict[str, bytes]]

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each object by hash."""
        return {name: sum(map(len, files.values())) for name, files in self.objects.items()}

    def version(self, alias: str, number: int, *, created: int, tenant: str) -> Version:
        """Return the upload as a version of an alias."""
        return Version(
            alias=alias,
            number=number,
            sha256=self.adapter.sha256,
            created=created,
            tenant=tenant,
            bytes=sum(self.sizes().values()),
            rank=self.adapter.rank,
            targets=self.adapter.targets,
            manifest=self.manifest,
            manifest_sha256=self.manifest_sha256,
        )


def make_draft(
    weights: bytes,
    config_json: bytes,
    manifest_json: bytes | None,
    *,
    config: ModelConfig,
    rank_max: int,
    base_sha256: str,
) -> Draft:
    """Validate an upload's files for a base model.

    Raises
    ------
    InputError
        With every reason for which the manifest, or else the adapter, is refused.
    """
    manifest = None if manifest_json is None else parse_manifest(manifest_json)
    if manifest is not None and base_sha256 and manifest.base_sha256 not in (None, base_sha256):
        message = f"{manifest.base_sha256} is not the base model of this node, {base_sha256}"
        raise InputError([Problem(message, "base_sha256", MANIFEST_FILE)])
    adapter = parse_adapter(weights, config_json, config, rank_max=rank_max)
    packed_weights, packed_config = pack_adapter(adapter)
    objects = {adapter.sha256: {WEIGHTS_FILE: packed_weights, CONFIG_FILE: packed_config}}
    manifest_sha256 = None
    if manifest is not None:
        data = manifest.to_json()
        manifest_sha256 = hashlib.sha256(data).hexdigest()
        objects[manifest_sha256] = {MANIFEST_FILE: data}
    return Draft(adapter, manifest, manifest_sha256, objects)
