"""The registry's index as a file: one JSON document that names the base model, every alias and every version.

Manifests are objects of their own, named by their hash, so that the index stays small; a version whose manifest or
adapter is not on disk as it was written is damaged, and damaged versions are never served.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.errors import InputError, Problem
from reference_node.config import ModelConfig
from reference_node.manifest import MANIFEST_FILE, AdapterManifest, parse_manifest
from reference_node.registry.index import Alias, Index, Version
from reference_node.registry.store import INDEX_FILE

SCHEMA_VERSION = 1
KEPT = ("number", "sha256", "created", "tenant", "bytes", "rank", "manifest_sha256")


def encode_index(index: Index, config: ModelConfig, base_sha256: str) -> bytes:
    """Return the index as a file."""
    aliases = {
        name: {
            "tenant": entry.tenant,
            "current": entry.current,
            "next_number": entry.next_number,
            "versions": [
                {key: getattr(version, key) for key in KEPT} | {"targets": list(version.targets)}
                for version in entry.versions
            ],
        }
        for name, entry in sorted(index.aliases.items())
    }
    document = {
        "schema": SCHEMA_VERSION,
        "base_sha256": base_sha256,
        "model": asdict(config),
        "aliases": aliases,
    }
    return (json.dumps(document) + "\n").encode()  # without indent: four times as fast


def read_document(root: Path) -> dict[str, Any]:
    """Return a registry's index as it was written.

    Raises
    ------
    InputError
        When the folder holds no index, or one of another schema.
    """
    path = root / INDEX_FILE
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError([Problem("no registry in this folder", where=str(root))]) from error
    except (OSError, ValueError) as error:
        raise InputError([Problem(f"cannot read the registry's index: {error}", where=str(path))]) from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA_VERSION:
        raise InputError(
            [Problem(f"schema {schema!r} of the index; allowed {SCHEMA_VERSION}", where=str(path))]
        )
    return dict(document)


def stored_base(root: Path) -> tuple[ModelConfig, str]:
    """Return the shape and the hash ("" when unknown) of the base model that a registry's adapters are for.

    Raises
    ------
    InputError
        When the folder holds no readable registry.
    """
    document = read_document(root)
    try:
        shape = dict(document["model"])
        scaling = shape.get("rope_scaling")
        shape["rope_scaling"] = None if scaling is None else tuple(scaling)
        return ModelConfig(**shape), str(document["base_sha256"])
    except (KeyError, TypeError, ValueError) as error:
        message = f"the index names no base model of a known shape: {error}"
        raise InputError([Problem(message, where=str(root / INDEX_FILE))]) from error


def decode_index(root: Path, read: Callable[[str, str], bytes]) -> tuple[Index, dict[str, str]]:
    """Return the index of a registry's folder, and what is wrong with the objects it names, by hash.

    Parameters
    ----------
    root
        The folder.
    read
        Returns a file's bytes from an object's hash and the file's name; raises `OSError`.

    Raises
    ------
    InputError
        When the index itself cannot be read.
    """
    document, damaged = read_document(root), {}

    def manifest_of(sha256: str | None) -> AdapterManifest | None:
        if sha256 is None:
            return None
        try:
            data = read(sha256, MANIFEST_FILE)
            if hashlib.sha256(data).hexdigest() == sha256:
                return parse_manifest(data)
            damaged[sha256] = "its manifest is not the one that was uploaded"
        except (OSError, InputError) as error:
            damaged[sha256] = f"its manifest cannot be read: {error}"
        return None

    try:
        aliases = {
            name: Alias(
                tenant=entry["tenant"],
                current=entry["current"],
                next_number=entry["next_number"],
                versions=tuple(
                    Version(
                        alias=name,
                        targets=tuple(raw["targets"]),
                        manifest=manifest_of(raw["manifest_sha256"]),
                        **{key: raw[key] for key in KEPT},
                    )
                    for raw in entry["versions"]
                ),
            )
            for name, entry in document["aliases"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        message = f"the index lacks what the registry wrote: {error!r}"
        raise InputError([Problem(message, where=str(root / INDEX_FILE))]) from error
    return Index(aliases), damaged
