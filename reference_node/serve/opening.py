"""From options to a node: which parts are built, in which order, and where its files lie.

Rules: everything that can be refused is refused before a port is opened. One data folder holds registry, log,
settlements and keys of one base model. A node without keys is for its own machine alone.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import InputError
from reference_node.access import SCOPES, KeyStore, Quota, QuotaLedger
from reference_node.billing import BillingLog, Tariff
from reference_node.registry import Registry
from reference_node.serve.bills import RecentBills
from reference_node.serve.limits import Limits
from reference_node.serve.metrics import Metrics
from reference_node.serve.node import Node
from reference_node.tokenizer import TextCodec

if TYPE_CHECKING:
    from reference_node.config import ModelConfig
    from reference_node.model import Llama
    from reference_node.serve.backend import Backend

DAY_MS = 86_400_000
BLOCK_TOKENS = 16


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """What an operator chooses.

    Parameters
    ----------
    base
        Transformers folder or hub name; None for the bundled tiny base.
    data
        Folder of registry, log, settlements and keys.
    adapters, keys, tariff
        Other places for registry and key file, and a tariff file; None for the folder's own and for the
        illustrative tariff.
    auth
        Whether keys are asked for.
    host, port
        Where the node listens; port 0 takes a free one.
    device, dtype
        Of the engine; an empty dtype is float32 on a CPU and bfloat16 elsewhere.
    slots, rank_max, policy, host_bytes
        Of the adapter pool.
    batch_max, length_max, kv_bytes, step_tokens
        Of the engine; 0 KV bytes is room for `batch_max` requests of `length_max` tokens.
    upstream, upstream_key
        Another server that generates instead of the engine, and its key.
    limits
        Bounds of the interface.
    """

    base: str | None = None
    data: Path = Path("node-data")
    adapters: Path | None = None
    keys: Path | None = None
    tariff: Path | None = None
    auth: bool = True
    host: str = "127.0.0.1"
    port: int = 8000
    device: str = "cpu"
    dtype: str = ""
    slots: int = 32
    rank_max: int = 64
    policy: str = "lru"
    host_bytes: int = 4 << 30
    batch_max: int = 32
    length_max: int = 2048
    kv_bytes: int = 0
    step_tokens: int = 512
    upstream: str = ""
    upstream_key: str = ""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Refuse what could not serve.

        Raises
        ------
        InputError
            When a node without keys would be reachable from elsewhere, or a port is none.
        """
        wrong = []
        if not self.auth and not _is_loopback(self.host):
            wrong.append(f"--no-auth with --host {self.host}: a node without keys listens on 127.0.0.1 alone")
        if not 0 <= self.port <= 65_535:
            wrong.append(f"--port {self.port}: allowed 0 to 65535")
        if self.dtype not in ("", "float32", "bfloat16", "float16"):
            wrong.append(f"--dtype {self.dtype}: allowed float32, bfloat16, float16")
        if self.kv_bytes < 0:
            wrong.append(f"--kv-bytes {self.kv_bytes}: allowed 0 and above")
        if wrong:
            raise InputError(wrong)

    @property
    def key_file(self) -> Path:
        """Return where the keys lie."""
        return self.keys or self.data / "keys.json"

    @property
    def registry_folder(self) -> Path:
        """Return where the adapters lie."""
        return self.adapters or self.data / "adapters"


def open_node(options: NodeOptions) -> Node:
    """Build a node; nothing runs yet.

    Raises
    ------
    InputError
        When a part cannot be built from the options.
    """
    tariff = Tariff.illustrative() if options.tariff is None else Tariff.read(options.tariff)
    folder, codec = _base(options)
    metrics = Metrics(options.limits.metric_adapters)
    backend, config, base_sha256 = _backend(options, folder, codec, metrics)
    with ExitStack() as stack:
        registry = Registry(options.registry_folder, config, base_sha256, rank_max=options.rank_max)
        stack.callback(registry.close)
        log = BillingLog(options.data / "log", base_sha256, codec.sha256, tariff)
        stack.callback(log.close)
        node = Node(
            backend=backend,
            codec=codec,
            registry=registry,
            log=log,
            quotas=QuotaLedger(spent_today=_spent_today(log)),
            metrics=metrics,
            keys=KeyStore(options.key_file) if options.auth else None,
            limits=options.limits,
            base_sha256=base_sha256,
            epochs=options.data / "settlements",
            bills=RecentBills.of(log),
        )
        if options.base is None:
            adopt_bundled(registry)
        stack.pop_all()
    return node


def first_key(options: NodeOptions) -> str | None:
    """Return a new administrator's key in plain text when a node with keys has none yet."""
    if not options.auth or KeyStore(options.key_file).listing():
        return None
    return KeyStore(options.key_file).create("first", "local", SCOPES, Quota(None, None, None, None))


def adopt_bundled(registry: Registry) -> None:
    """Give an empty registry of the bundled base the adapters that were trained for it."""
    from reference_node.train import bundled_adapters

    if not registry.listing():
        for alias, folder in sorted(bundled_adapters().items()):
            registry.adopt(folder, alias=alias)


def _base(options: NodeOptions) -> tuple[Path, TextCodec]:
    from reference_node.tiny_base import folder as bundled
    from reference_node.weights import resolve_checkpoint

    folder = bundled() if options.base is None else resolve_checkpoint(options.base)
    return folder, TextCodec.from_folder(folder)


def _backend(
    options: NodeOptions, folder: Path, codec: TextCodec, metrics: Metrics
) -> tuple[Backend, ModelConfig, str]:
    """Return what generates, the shape of its base, and the base's hash."""
    import torch

    from reference_node.weights import base_sha256, load_model

    dtype = getattr(torch, options.dtype or ("float32" if options.device == "cpu" else "bfloat16"))
    model, tensors = load_model(folder, device=options.device, dtype=dtype, max_length=options.length_max)
    base = base_sha256(tensors, codec.sha256)
    if not options.upstream:
        return _local(options, model, dtype, codec, metrics, base)
    from reference_node.serve.upstream import UpstreamBackend

    # the weights are read for their hash alone: what the upstream is expected to serve
    behind = UpstreamBackend(options.upstream, options.upstream_key, codec, base, options.length_max)
    return behind, model.config, base


def _local(
    options: NodeOptions, model: Llama, dtype: Any, codec: TextCodec, metrics: Metrics, base: str
) -> tuple[Backend, ModelConfig, str]:
    from reference_node.engine import Engine, EngineConfig
    from reference_node.pool import AdapterPool
    from reference_node.serve.local import LocalBackend

    config = model.config
    pool = AdapterPool(
        config,
        slots=options.slots,
        rank_max=options.rank_max,
        host_bytes=options.host_bytes,
        policy=options.policy,
        device=options.device,
        dtype=dtype,
        background=True,
    )
    settings = EngineConfig(
        batch_max=options.batch_max,
        length_max=min(options.length_max, model.cos.shape[0]),
        step_tokens=options.step_tokens,
        queue_max=options.limits.queue,
        kv_blocks=options.kv_bytes // (BLOCK_TOKENS * _kv_bytes_per_token(config, dtype)) or None,
        block_size=BLOCK_TOKENS,
    )
    return LocalBackend(Engine(model, pool, settings, base_sha256=base), codec, metrics), config, base


def _kv_bytes_per_token(config: ModelConfig, dtype: Any) -> int:
    return int(2 * config.layers * config.kv_heads * config.head_dim * dtype.itemsize)


def _spent_today(log: BillingLog) -> Callable[[str], int]:
    """Return how many tokens a key has used since midnight UTC, by the log, so that a restart gives nothing back."""

    def spent(key_id: str) -> int:
        midnight = int(time.time() * 1000) // DAY_MS * DAY_MS
        total = log.usage(key_id=key_id, since=midnight).total
        return total.tokens_in + total.tokens_out

    return spent


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
