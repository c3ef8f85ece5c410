"""A tiny engine and requests for it, shared by the engine's tests."""

from __future__ import annotations

import torch

from reference_node.adapters import random_adapter
from reference_node.config import ModelConfig
from reference_node.engine import Engine, EngineConfig
from reference_node.model import random_model
from reference_node.pool import AdapterPool
from reference_node.request import GREEDY, AdapterUse, Request, Sampling
from reference_node.runner import Runner

SMALL = ModelConfig(
    vocab_size=256, hidden_size=64, layers=2, heads=4, kv_heads=2, head_dim=16, intermediate_size=96
)
LENGTH = 128


def small_pool(*, slots: int = 6, count: int = 6, **more) -> tuple[AdapterPool, list[str]]:
    """Return a pool and the hashes of its adapters, each strong enough to change what is said."""
    pool = AdapterPool(SMALL, slots=slots, rank_max=32, **more)
    return pool, [pool.add(random_adapter(SMALL, (4, 32, 8)[i % 3], i, gain=20.0)) for i in range(count)]


def small_engine(*, slots: int = 6, paged: bool = False, **limits) -> tuple[Engine, list[str]]:
    """Return an engine of a seeded model, and the hashes of six adapters.

    `paged` reads decode rows by block tables from a pool of slabs, as on an accelerator.
    """
    pool, hashes = small_pool(slots=slots, slabs=paged)
    config = EngineConfig(**{"batch_max": 8, "length_max": LENGTH} | limits)
    engine = Engine(random_model(SMALL, 0, max_length=LENGTH), pool, config, base_sha256="base")
    if paged:
        engine.runner = Runner(engine.model, pool, config, dense=False)
    return engine, hashes


def prompt(seed: int, length: int, vocab: int = 256) -> tuple[int, ...]:
    """Return a seeded prompt."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(0, vocab, (length,), generator=generator).tolist())


def ask(
    name: str,
    tokens: tuple[int, ...],
    new: int,
    *adapters: str | AdapterUse,
    sampling: Sampling = GREEDY,
    tenant="",
) -> Request:
    """Return a request."""
    uses = tuple(use if isinstance(use, AdapterUse) else AdapterUse(use) for use in adapters)
    return Request(name, tokens, new, uses, sampling, tenant=tenant)


def medley(hashes: list[str], count: int = 24) -> list[Request]:
    """Return requests of all kinds: base, one adapter, two weighted ones; greedy and sampled; two tenants."""
    made = []
    for i in range(count):
        uses = [AdapterUse(hashes[i % 6])] if i % 4 else []
        if i % 5 == 3:
            uses.append(AdapterUse(hashes[(i + 1) % 6], 0.5))
        sampling = Sampling(0.8, 0.9, seed=i) if i % 3 == 0 else GREEDY
        made.append(
            ask(
                f"r{i}",
                prompt(i, 1 + 7 * i % 40),
                1 + 7 * i % 29,
                *uses,
                sampling=sampling,
                tenant=str(i % 2),
            )
        )
    return made


def tokens_of(done: dict) -> dict[str, list[int]]:
    """Return what was said, by request."""
    return {name: completion.tokens for name, completion in done.items()}


def assert_empty(engine: Engine) -> None:
    """Assert that nothing is held: no request, no block, no adapter."""
    assert engine.idle
    assert engine.stats().kv_blocks_used == engine.stats().running == engine.stats().waiting == 0
    assert not any(engine.scheduler.blocks.references(block) for block in range(engine.config.blocks + 1))
    assert not any(engine.pool.in_flight(sha) for sha in engine.pool.resident())
