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
from typing import TYPE_CHECKING

from models.errors import InputError, Problem
from reference_node.access import SCOPES, KeyStore, Quota, QuotaLedger
from reference_node.billing import BillingLog, Tariff
from reference_node.pool import POLICIES, AdapterPool
from reference_node.registry import Registry
from reference_node.serve.bills import RecentBills
from reference_node.serve.limits import Limits
from reference_node.serve.metrics import Metrics
from reference_node.serve.node import Node
from reference_node.serve.sizing import BLOCK_TOKENS, context_length, device_problem, kv_blocks
from reference_node.tokenizer import TextCodec

if TYPE_CHECKING:
    from reference_node.engine import Engine
    from reference_node.model import Llama
    from reference_node.serve.attribution import AttributionDesk
    from reference_node.serve.backend import Backend

DAY_MS = 86_400_000
SEEDED_FILE = "seeded"
DTYPES = ("float32", "bfloat16", "float16")


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
    batch_max, length_max, kv_bytes, step_tokens, merge_bytes, distinct_adapters_max
        Of the engine; no length is what the base takes, up to 2,048 tokens; 0 KV bytes is room for `batch_max`
        requests of `length_max` tokens; 0 distinct adapters is no limit.
    upstream, upstream_key
        Another server that generates instead of the engine, and its key.
    attribution
        Bundles of the adapters whose answers are attributed.
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
    length_max: int | None = None
    kv_bytes: int = 0
    step_tokens: int = 512
    merge_bytes: int = 0
    distinct_adapters_max: int = 0
    upstream: str = ""
    upstream_key: str = ""
    attribution: tuple[Path, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Refuse what could not serve.

        Raises
        ------
        InputError
            When a node without keys would be reachable from elsewhere, or a value is not one of those allowed.
        """
        wrong = []
        if not self.auth and not _is_loopback(self.host):
            wrong.append(f"--no-auth with --host {self.host}: a node without keys listens on 127.0.0.1 alone")
        if not 0 <= self.port <= 65_535:
            wrong.append(f"--port {self.port}: allowed 0 to 65535")
        wrong += self._engine_problems()
        if wrong:
            raise InputError(wrong)

    def _engine_problems(self) -> list[str]:
        unusable = device_problem(self.device)
        wrong = [unusable] if unusable else []
        if self.dtype not in ("", *DTYPES):
            wrong.append(f"--dtype {self.dtype}: allowed {', '.join(DTYPES)}")
        if self.policy not in POLICIES:
            wrong.append(f"--policy {self.policy}: allowed {', '.join(POLICIES)}")
        if self.length_max is not None and self.length_max < 2:
            wrong.append(f"--length-max {self.length_max}: allowed 2 and above")
        counts = {
            "--kv-bytes": self.kv_bytes,
            "--merge-bytes": self.merge_bytes,
            "--distinct-adapters-max": self.distinct_adapters_max,
        }
        return wrong + [f"{flag} {n}: allowed 0 and above" for flag, n in counts.items() if n < 0]

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
    backend, model, base_sha256 = _backend(options, folder, codec, metrics)
    desk = _desk(options, folder, model, codec, base_sha256, metrics)
    with ExitStack() as stack:
        registry = Registry(options.registry_folder, model.config, base_sha256, rank_max=options.rank_max)
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
            attribution=desk,
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
    """Give an empty registry of the bundled base the adapters that were trained for it, once: deleted ones stay so."""
    from reference_node.train import bundled_adapters

    seeded = registry.root / SEEDED_FILE
    if seeded.exists():
        return
    if not registry.listing():
        for alias, folder in sorted(bundled_adapters().items()):
            registry.adopt(folder, alias=alias)
    seeded.touch()


def _base(options: NodeOptions) -> tuple[Path, TextCodec]:
    from reference_node.tiny_base import folder as bundled
    from reference_node.weights import resolve_checkpoint

    folder = bundled() if options.base is None else resolve_checkpoint(options.base)
    return folder, TextCodec.from_folder(folder)


def _backend(
    options: NodeOptions, folder: Path, codec: TextCodec, metrics: Metrics
) -> tuple[Backend, Llama, str]:
    """Return what generates, its base, and the base's hash."""
    import torch

    from reference_node.config_file import read_config
    from reference_node.weights import base_sha256, load_model

    dtype = getattr(torch, options.dtype or ("float32" if options.device == "cpu" else "bfloat16"))
    length = context_length(folder, options.length_max)
    blocks = kv_blocks(options.kv_bytes, read_config(folder), dtype)  # before the weights, which take minutes
    model, tensors = load_model(folder, device=options.device, dtype=dtype, max_length=length)
    base = base_sha256(tensors, codec.sha256)
    if not options.upstream:
        from reference_node.serve.local import LocalBackend

        return LocalBackend(_engine(options, model, blocks, base), codec, metrics), model, base
    from reference_node.serve.upstream import UpstreamBackend

    # the weights are read for their hash alone: what the upstream is expected to serve
    behind = UpstreamBackend(options.upstream, options.upstream_key, codec, base, length)
    return behind, model, base


def _desk(
    options: NodeOptions, folder: Path, model: Llama, codec: TextCodec, base: str, metrics: Metrics
) -> AttributionDesk | None:
    """Return what attributes answers, with everything at hand that they would wait for."""
    if not options.attribution:
        return None
    import torch

    from reference_node.attribution.attributor import Attributor
    from reference_node.attribution.bundle import Bundle
    from reference_node.serve.attribution import AttributionDesk
    from reference_node.weights import load_model

    bundles = [Bundle.open(one) for one in options.attribution]
    strange = [one for one in bundles if one.base_sha256 != base]
    if strange:
        raise InputError(
            [
                Problem(f"is of base model {one.base_sha256}; this node serves {base}", where=str(one.folder))
                for one in strange
            ]
        )
    plain = model.embed.dtype == torch.float32 and model.device.type == "cpu"
    weights = model if plain else load_model(folder)[0]  # gradients are of float32 weights on the CPU
    desk = AttributionDesk([Attributor(weights, one) for one in bundles], codec, metrics)
    desk.warm()
    return desk


def _engine(options: NodeOptions, model: Llama, blocks: int | None, base: str) -> Engine:
    from reference_node.engine import Engine, EngineConfig

    pool = AdapterPool(
        model.config,
        slots=options.slots,
        rank_max=options.rank_max,
        host_bytes=options.host_bytes,
        policy=options.policy,
        device=options.device,
        dtype=model.embed.dtype,
        background=True,
    )
    settings = EngineConfig(
        batch_max=options.batch_max,
        length_max=model.cos.shape[0],
        step_tokens=options.step_tokens,
        queue_max=options.limits.queue,
        kv_blocks=blocks,
        block_size=BLOCK_TOKENS,
        merge_bytes=options.merge_bytes,
        distinct_adapters_max=options.distinct_adapters_max or None,
    )
    return Engine(model, pool, settings, base_sha256=base)


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
