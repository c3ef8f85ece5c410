"""Throughput profile, as the simulator reads it: which measured numbers enter the economy.

The node writes the file (schema v1, `reference_node/profiles/profile.schema.json`); this edge refuses unknown
keys, other schema versions and files whose content hash does not match, and keeps what the serving model
needs. A profile is never trusted by name: `measured` and the hash travel into every manifest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models.errors import InputError, Problem
from models.serving import (
    FloatArray,
    PromptFit,
    StepFit,
    batch_factors,
    fit_joining,
    fit_prompts,
    joining_alone,
    profile_sha256,
    step_time_ms,
)
from sim.serving.profile_schema import DecodeRow, MixedRow, PrefillRow, Profile, ServingRow

STEP_TOKENS = 512
"""Most tokens of an engine's step where a profile does not say."""


@dataclass(frozen=True, slots=True)
class ServingWindow:
    """One measured open-loop run of the profile, kept to check the simulator against it (times in ms).

    Its arrivals and adapters follow from `seed`, see `traffic.replayed_requests`.
    """

    holdout: bool
    seed: int
    arrival_rate: float
    zipf: float
    adapters: int
    cache_policy: str
    batch_max: int
    input_tokens: int
    output_tokens: int
    completed: int
    duration_s: float
    output_tok_s: float
    hit_rate: float
    ttft_p50_ms: float
    ttft_p99_ms: float
    e2e_p50_ms: float
    e2e_p99_ms: float


@dataclass(frozen=True, slots=True)
class ServingProfile:
    """What one replica can do, by measurement.

    Parameters
    ----------
    id, sha256, measured, created
        Name, content hash, whether it is a measurement, ISO time of the bench.
    model_arch, model_params, random_weights
        The base model that was served.
    device_kind, device_name
        What served it.
    fit, factors
        Decode step time, and what the line misses by batch, entry n for n rows.
    prompts
        Forwards over prompts alone, fitted to the prefill rows that fit into one step.
    joining
        What prompts add to a step of decode rows, fitted to the mixed rows.
    gpu_hit_ms, host_load_ms, disk_load_ms
        Adapter load times by where the adapter was.
    rank, slots, host_slots, batch_max, context_max
        Rank of the bench's adapters; adapters on the device and in host memory; largest measured batch and
        context.
    step_tokens
        Most tokens of a step, decode rows and prompts together.
    regroup_ms
        What a decode step takes more after rows have joined or left; 0 where it was not measured.
    windows
        The measured serving runs.
    """

    id: str
    sha256: str
    measured: bool
    created: str
    model_arch: str
    model_params: int
    random_weights: bool
    device_kind: str
    device_name: str
    fit: StepFit
    factors: tuple[float, ...]
    prompts: PromptFit
    joining: PromptFit
    gpu_hit_ms: float
    host_load_ms: float
    disk_load_ms: float
    rank: int
    slots: int
    host_slots: int
    batch_max: int
    context_max: int
    step_tokens: int = STEP_TOKENS
    regroup_ms: float = 0.0
    windows: tuple[ServingWindow, ...] = ()

    def decode_ms(self, rows: int, distinct: float, context: float) -> float:
        """Return the duration of a decode step; `context` is the mean over rows."""
        line = float(step_time_ms(self.fit, rows, distinct, self.rank, context))
        return line * self.factors[rows]

    @property
    def prefill_ms_per_token(self) -> float:
        """Milliseconds that a prompt token adds to a forward over prompts alone."""
        return self.prompts.token


def read_profile(path: Path) -> ServingProfile:
    """Read and check a throughput profile.

    Raises
    ------
    InputError
        With the path and every fault: missing file, no JSON, unknown or missing keys, values out of range,
        another schema version, content that no longer matches its hash, or too few rows to fit a prefill
        time.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError([Problem(f"cannot read the profile: {error.strerror}", where=str(path))]) from error
    except ValueError as error:
        raise InputError([Problem(f"the profile is not JSON: {error}", where=str(path))]) from error
    try:
        parsed = Profile.model_validate(document)
    except ValidationError as error:
        problems = [
            Problem(_message(fault), ".".join(map(str, fault["loc"])), str(path)) for fault in error.errors()
        ]
        raise InputError(problems) from error
    if profile_sha256(document) != parsed.provenance.sha256:
        message = "the content was changed after it was measured; run the bench again"
        raise InputError([Problem(message, "provenance.sha256", str(path))])
    return _reduce(parsed, path)


def _message(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        return "unknown key"
    return f"{fault['msg']}, got {repr(fault['input'])[:60]}"


def _reduce(parsed: Profile, path: Path) -> ServingProfile:
    whole = [row for row in parsed.prefill if row.tokens * row.batch <= STEP_TOKENS]
    if len({row.tokens for row in whole}) < 2 or not parsed.decode or parsed.lora.resident_slots < 1:
        message = (
            f"needs decode rows, prefill rows of at least two lengths and at most {STEP_TOKENS} tokens, "
            "and lora.resident_slots of 1 or more"
        )
        raise InputError([Problem(message, where=str(path))])
    loads, prompts = parsed.adapter_load, _prompts(whole)
    fit = StepFit(**parsed.fit.model_dump(exclude={"regroup_ms"}))
    batch_max = max(row.batch for row in parsed.decode)
    factors = batch_factors(
        [row.batch for row in parsed.decode],
        [_line_ms(fit, row) for row in parsed.decode],
        [row.step_ms_p50 for row in parsed.decode],
        batch_max,
    )
    return ServingProfile(
        id=parsed.id,
        sha256=parsed.provenance.sha256,
        measured=parsed.provenance.measured,
        created=parsed.created,
        model_arch=parsed.model.arch,
        model_params=parsed.model.params,
        random_weights=parsed.model.random_weights,
        device_kind=parsed.device.kind,
        device_name=parsed.device.name,
        fit=fit,
        factors=tuple(factors.tolist()),
        prompts=prompts,
        joining=_joining(fit, factors, prompts, parsed.mixed),
        gpu_hit_ms=loads.gpu_hit_ms,
        host_load_ms=loads.host_to_gpu_ms_p50,
        disk_load_ms=loads.disk_to_gpu_ms_p50,
        rank=parsed.lora.rank,
        slots=parsed.lora.resident_slots,
        host_slots=parsed.lora.host_slots,
        batch_max=batch_max,
        context_max=max(row.context for row in parsed.decode),
        regroup_ms=parsed.fit.regroup_ms,
        windows=tuple(_window(row) for row in parsed.serving),
    )


def _prompts(rows: list[PrefillRow]) -> PromptFit:
    """Fit the forwards behind prefill rows; with too few rows of several prompts, those of one alone."""
    if len(rows) < 3:
        rows = [row for row in rows if row.batch == rows[0].batch]
    tokens = [row.tokens * row.batch for row in rows]
    # `tok_s` counts to the last of the prompts, so it gives the duration of the whole forward
    forward = [1e3 * total / row.tok_s for total, row in zip(tokens, rows, strict=True)]
    return fit_prompts(tokens, [row.batch for row in rows], forward)


def _line_ms(fit: StepFit, row: DecodeRow | MixedRow) -> float:
    return float(step_time_ms(fit, row.batch, row.distinct_adapters, row.rank, row.context))


def _joining(fit: StepFit, factors: FloatArray, prompts: PromptFit, rows: list[MixedRow]) -> PromptFit:
    """Fit what a prompt adds to decode rows; a longer one than the step's budget rides in it with its first part."""
    if len({row.tokens for row in rows}) < 2:
        return joining_alone(fit, prompts)
    decode = [_line_ms(fit, row) * float(factors[min(row.batch, len(factors) - 1)]) for row in rows]
    tokens = [min(row.tokens, STEP_TOKENS - row.batch) for row in rows]
    return fit_joining(decode, tokens, [row.step_ms_p50 for row in rows], prompts.chunk)


def _window(row: ServingRow) -> ServingWindow:
    return ServingWindow(
        holdout=row.holdout,
        seed=row.seed,
        arrival_rate=row.arrival_rate,
        zipf=row.zipf_alpha,
        adapters=row.adapters,
        cache_policy=row.cache_policy,
        batch_max=row.batch_max,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        completed=row.completed,
        duration_s=row.duration_s,
        output_tok_s=row.output_tok_s,
        hit_rate=row.hit_rate,
        ttft_p50_ms=row.ttft_ms.p50,
        ttft_p99_ms=row.ttft_ms.p99,
        e2e_p50_ms=row.e2e_ms.p50,
        e2e_p99_ms=row.e2e_ms.p99,
    )
