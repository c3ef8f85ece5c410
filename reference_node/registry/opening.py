"""What the registry does before it serves: whose folder it is, what lies there whole, and what a crash left behind."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import InputError, Problem
from reference_node.config import ModelConfig
from reference_node.registry.index import Index, object_names
from reference_node.registry.index_file import decode_index, encode_index, stored_base
from reference_node.registry.store import Store


@dataclass(frozen=True, slots=True)
class Contents:
    """What a registry's folder holds.

    Parameters
    ----------
    index, base_sha256
        As written; the hash is "" when the base is unknown.
    sizes
        Bytes on disk by hash of each object.
    damaged
        What is wrong with an object that the index names, by hash.
    """

    index: Index
    base_sha256: str
    sizes: dict[str, int]
    damaged: dict[str, str]


def open_contents(store: Store, config: ModelConfig, base_sha256: str) -> Contents:
    """Read a registry's folder; for a writer, make a new one where there is none and remove what a crash left.

    Raises
    ------
    InputError
        When the folder is no registry, is damaged as a whole, or belongs to another base model.
    """
    if store.writable and not store.index_path.is_file():
        _begin(store, config, base_sha256)
    base_sha256 = _common_base(store, config, base_sha256)
    index, damaged = decode_index(store.root, lambda sha256, name: (store.folder(sha256) / name).read_bytes())
    if store.writable:
        store.clean(object_names(index.versions()))
        store.write_index(encode_index(index, config, base_sha256))  # fails now if it cannot later
    sizes = {name: store.size(name) for name in store.names()}
    for version in index.versions():
        found = sizes.get(version.sha256, 0)
        expected = version.bytes - sizes.get(version.manifest_sha256 or "", 0)
        if found != expected and version.manifest_sha256 not in damaged:
            damaged[version.sha256] = f"its adapter has {found} bytes on disk, not {expected}"
    return Contents(index, base_sha256, sizes, damaged)


def _begin(store: Store, config: ModelConfig, base_sha256: str) -> None:
    count = len(store.names())
    if count:  # never take the loss of an index for an order to delete what it named
        message = (
            f"the index is missing although {count} objects lie here; put it back, or move the folder away"
        )
        raise InputError([Problem(message, where=str(store.root))])
    store.write_index(encode_index(Index(), config, base_sha256))


def _common_base(store: Store, config: ModelConfig, base_sha256: str) -> str:
    """Return the base model's hash, from the caller or from the folder; refuse when they differ."""
    shape, stored = stored_base(store.root)
    wrong = []
    if base_sha256 and stored and base_sha256 != stored:
        wrong.append(f"its adapters are for base model {stored}, not for {base_sha256}")
    if (shape.layers, shape.projections()) != (config.layers, config.projections()):
        wrong.append(f"its adapters are for {_shape(shape)}, not for {_shape(config)}")
    if wrong:
        raise InputError([Problem(message, where=str(store.root)) for message in wrong])
    return base_sha256 or stored


def _shape(config: ModelConfig) -> str:
    return (
        f"{config.layers} layers of width {config.hidden_size} with {config.heads} heads of {config.head_dim}, "
        f"{config.kv_heads} key heads, inner width {config.intermediate_size}"
    )
