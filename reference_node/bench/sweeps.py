"""Sweeps of the bench: decode steps, prefills, adapter loads.

Variants are interleaved inside each round, the first round is dropped, figures are medians over rounds, every
sample is kept. Sweeps time the engine's own step (plan, forward, choice of token, bookkeeping), not a bare
forward, because the simulator has to predict the engine. Context is held fixed: after a setting's steps its rows are
set back to where they began.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from models.serving import decode_bytes, decode_flops, roofline_step_ms
from reference_node.adapters import read_adapter, save_adapter
from reference_node.bench.measure import STEPS_OF_A_JOIN, Progress, Rig, prompt_of, ragged, timed_ms
from reference_node.engine import Engine
from reference_node.pool import AdapterPool
from reference_node.profile import AdapterLoad, DecodeRow, MixedRow, PrefillRow
from reference_node.rehearsal import lent_adapters
from reference_node.request import AdapterUse, Request


class DecodeSweep:
    """Decode steps over batch x context x (distinct adapters, rank); call `round` repeatedly, then `rows`."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.engines = {(b, c): _warm_engine(rig, b, c) for b in rig.plan.batches for c in rig.plan.contexts}
        self.samples: dict[tuple[int, int, int, int], list[list[float]]] = {}

    def round(self) -> None:
        """Time every setting once more."""
        for (batch, context), engine in self.engines.items():
            for distinct, rank in self.rig.plan.adapter_counts(batch):
                times = _time_steps(self.rig, engine, distinct, rank)
                self.samples.setdefault((batch, context, distinct, rank), []).append(times)

    def rows(self) -> list[DecodeRow]:
        """Return one row per setting, the first round left out."""
        return [
            _decode_row(self.rig, key, rounds[1:], self.samples[key[0], key[1], 0, 0][1:])
            for key, rounds in self.samples.items()
        ]


class PrefillSweep:
    """Admission of prompts, each with its own adapter, up to their first token; used like `DecodeSweep`."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.engine = rig, rig.engine(max(rig.plan.prefill_batches))
        self.names = [
            rig.pool.add(a) for a in rig.adapters[rig.plan.ranks[-1]][: self.engine.config.batch_max]
        ]
        self.samples: dict[tuple[int, int], list[list[float]]] = {}

    def round(self) -> None:
        """Time every setting once more."""
        for tokens in self.rig.plan.prefill_tokens:
            for batch in self.rig.plan.prefill_batches:
                requests = [
                    Request(f"p{i}", prompt_of(self.rig, i, tokens), 1, (AdapterUse(self.names[i]),))
                    for i in range(batch)
                ]
                times = _time_prompts(self.engine, requests)
                self.samples.setdefault((tokens, batch), []).append(times)

    def rows(self) -> list[PrefillRow]:
        """Return one row per setting, the first round left out."""
        return [_prefill_row(setting, rounds[1:]) for setting, rounds in self.samples.items()]


class MixedSweep:
    """Steps in which one prompt joins rows that decode; used like `DecodeSweep`.

    Work done together costs less than the same work apart, and under load nearly every step is of this kind, so it is
    measured and not added up from the other two sweeps.
    """

    def __init__(self, rig: Rig) -> None:
        self.rig, self.context = rig, rig.plan.contexts[0]
        batches = [batch - 1 for batch in rig.plan.batches if batch > 1]
        self.engines = {batch: _warm_engine(rig, batch, self.context, joining=1) for batch in batches}
        self.samples: dict[tuple[int, int], list[list[float]]] = {}
        self.regroups: list[list[float]] = []

    def round(self) -> None:
        """Time every setting once more."""
        rig, regroups = self.rig, []
        for batch, engine in self.engines.items():
            for tokens in rig.plan.joining_tokens(batch):
                times, after = _time_joins(rig, engine, tokens)
                regroups += after
                self.samples.setdefault((batch, tokens), []).append(times)
        self.regroups.append(regroups)

    def regroup_ms(self) -> float:
        """Return what a decode step takes more after rows have joined or left, the first round left out."""
        kept = [sample for one in self.regroups[1:] for sample in one]
        return round(max(float(np.median(kept)), 0.0), 5)

    def rows(self) -> list[MixedRow]:
        """Return one row per setting, the first round left out."""
        return [self._row(batch, tokens, rounds[1:]) for (batch, tokens), rounds in self.samples.items()]

    def _row(self, batch: int, tokens: int, rounds: list[list[float]]) -> MixedRow:
        flat = [sample for one in rounds for sample in one]
        return MixedRow(
            batch=batch,
            tokens=tokens,
            distinct_adapters=min(batch, self.rig.plan.slots - 1),
            rank=self.rig.plan.ranks[-1],
            context=self.context,
            step_ms_p50=round(float(np.median([np.median(one) for one in rounds])), 5),
            step_ms_p99=round(float(np.percentile(flat, 99)), 5),
            samples_ms=[round(sample, 5) for sample in flat],
        )


def _warm_engine(rig: Rig, batch: int, context: int, joining: int = 0) -> Engine:
    """Return an engine whose `batch` rows hold `context` tokens each in the mean, and free rows beside."""
    spare = rig.plan.spare_tokens(batch, context)
    engine = rig.engine(batch + joining, rig.plan.row_length(batch, context, joined=joining > 0))
    for row, tokens in enumerate(ragged(batch, context)):
        engine.submit(Request(f"row{row}", prompt_of(rig, row, tokens), spare))
    while engine.waiting or any(entry.remaining > 1 for entry in engine.scheduler.running):
        engine.step()
    assert len(engine.running) == batch, f"{len(engine.running)} of {batch} rows decode"
    _set_back(engine)
    return engine


def _time_steps(rig: Rig, engine: Engine, distinct: int, rank: int) -> list[float]:
    """Return durations (ms) of `plan.steps` steps, adapters dealt to rows in turn, unsorted as in service."""
    rows = engine.scheduler.running
    names = [rig.pool.add(adapter) for adapter in rig.adapters.get(rank, [])[:distinct]]
    uses = [(AdapterUse(names[row % distinct]),) if distinct else () for row in range(len(rows))]
    with lent_adapters(engine, uses):
        engine.step()  # builds the plan, touches the adapters
        _set_back(engine)
        times = [timed_ms(engine.step, rig.model.device) for _ in range(rig.plan.steps)]
        _set_back(engine)
    return times


def _time_joins(rig: Rig, engine: Engine, tokens: int) -> tuple[list[float], list[float]]:
    """Return durations (ms) of `plan.steps` steps in each of which another prompt joins, and of what follows.

    The second list holds how much longer than the next step a step took after the prompt's row had joined or left.
    """
    rows, adapters = engine.scheduler.running, rig.adapters[rig.plan.ranks[-1]]
    distinct, device = min(len(rows), rig.plan.slots - 1), rig.model.device
    names = [rig.pool.add(adapter) for adapter in adapters[: distinct + 1]]
    joins, regroups = [], []
    with lent_adapters(engine, [(AdapterUse(names[row % distinct]),) for row in range(len(rows))]):
        for number in range(rig.plan.steps + 1):
            prompt = prompt_of(rig, number, tokens)
            request = Request("joins", prompt, 3, (AdapterUse(names[distinct]),))
            join = timed_ms(lambda asked=request: (engine.submit(asked), engine.step()), device)
            steps = [timed_ms(engine.step, device) for _ in range(STEPS_OF_A_JOIN - 1)]
            beside, beside_again, alone, alone_again = steps
            joins.append(join)
            regroups.append((beside - beside_again + alone - alone_again) / 2)
            _set_back(engine)
    return joins[1:], regroups[1:]


def _set_back(engine: Engine) -> None:
    """Take from every row all generated tokens but the first, and their keys and values."""
    for entry in engine.scheduler.running:
        done, prompt = entry.completion, len(entry.completion.request.prompt)
        del done.tokens[1:], done.token_times_s[1:], entry.tokens[prompt + 1 :]
        entry.computed = prompt


def _decode_row(
    rig: Rig, key: tuple[int, int, int, int], rounds: list[list[float]], base: list[list[float]]
) -> DecodeRow:
    batch, context, distinct, rank = key
    flat = [sample for one in rounds for sample in one]
    p50 = float(np.median([np.median(one) for one in rounds]))
    ratio = float(np.median([np.median(b) / np.median(o) for b, o in zip(base, rounds, strict=True)]))
    return DecodeRow(
        batch=batch,
        distinct_adapters=distinct,
        rank=rank,
        context=context,
        tok_s=round(1e3 * batch / p50, 2),
        step_ms_p50=round(p50, 5),
        step_ms_p99=round(float(np.percentile(flat, 99)), 5),
        ratio_to_base=round(ratio, 4),
        fraction_of_roofline=round(roofline_ms(rig, batch, distinct, rank, context) / p50, 4),
        samples_ms=[round(sample, 5) for sample in flat],
    )


def roofline_ms(rig: Rig, batch: int, distinct: int, rank: int, context: int) -> float:
    """Return the shortest step that the measured ceilings of this device allow."""
    config, size = rig.plan.config, rig.model.embed.element_size()
    streamed, per_adapter = config.streamed_parameters(), rig.pool.nbytes_per_adapter(rank)
    kv = 2 * config.layers * config.kv_heads * config.head_dim * size
    moved = decode_bytes(streamed * size, per_adapter, distinct, kv, batch, context)
    work = decode_flops(
        streamed, per_adapter / size, batch, context, config.heads * config.head_dim, config.layers
    )
    return float(roofline_step_ms(moved, work, rig.bandwidth, rig.flops))


def _time_prompts(engine: Engine, requests: list[Request]) -> list[float]:
    """Return each request's time (ms) to its first token."""
    return [1e3 * (done.token_times_s[0] - done.submitted_s) for done in engine.run(requests).values()]


def _prefill_row(setting: tuple[int, int], rounds: list[list[float]]) -> PrefillRow:
    tokens, batch = setting
    flat = [sample for one in rounds for sample in one]
    whole = float(np.median([max(one) for one in rounds]))
    return PrefillRow(
        tokens=tokens,
        batch=batch,
        tok_s=round(1e3 * tokens * batch / whole, 2),
        ttft_ms_p50=round(float(np.median(flat)), 5),
        ttft_ms_p99=round(float(np.percentile(flat, 99)), 5),
        samples_ms=[round(sample, 5) for sample in flat],
    )


def measure_adapter_load(rig: Rig, scratch: Path, progress: Progress) -> AdapterLoad:
    """Time how an adapter gets ready: on the device, from host memory, from disk; and validation alone."""
    progress("adapter loads")
    plan, rank = rig.plan, rig.plan.ranks[-1]
    device, dtype = rig.model.device, rig.model.dtype
    folders = [scratch / f"adapter{i}" for i in range(plan.repeats * 2 + 2)]
    for folder, adapter in zip(folders, rig.adapters[rank], strict=False):
        save_adapter(adapter, folder)
    warm = AdapterPool(plan.config, slots=1, rank_max=rank, device=device, dtype=dtype)
    # Room for one adapter in host memory: every other one is read from its folder.
    room = warm.nbytes_per_adapter(rank) * 3 // 2
    cold = AdapterPool(plan.config, slots=1, rank_max=rank, host_bytes=room, device=device, dtype=dtype)
    host = list(_acquire_ms(warm, [warm.register(f) for f in folders], device))[1:]
    disk = list(_acquire_ms(cold, [cold.register(f) for f in folders], device))[1:]
    last = warm.register(folders[-1])
    hits = [_hit_ms(warm, last) for _ in range(50)]
    checks = [
        timed_ms(lambda f=folder: read_adapter(f, plan.config), torch.device("cpu")) for folder in folders
    ][1:]
    return AdapterLoad(
        gpu_hit_ms=round(float(np.median(hits)), 6),
        host_to_gpu_ms_p50=round(float(np.median(host)), 5),
        host_to_gpu_ms_p99=round(float(np.percentile(host, 99)), 5),
        disk_to_gpu_ms_p50=round(float(np.median(disk)), 5),
        disk_to_gpu_ms_p99=round(float(np.percentile(disk, 99)), 5),
        validate_ms=round(float(np.median(checks)), 5),
    )


def _acquire_ms(pool: AdapterPool, names: list[str], device: torch.device) -> Iterator[float]:
    for name in names:
        yield timed_ms(lambda n=name: pool.acquire(n), device)
        pool.release(name)


def _hit_ms(pool: AdapterPool, name: str) -> float:
    """Return the time of one acquisition of an adapter that is already in its slot."""
    pool.acquire(name)
    elapsed = timed_ms(lambda: pool.acquire(name), torch.device("cpu"))
    pool.release(name)
    pool.release(name)
    return elapsed
