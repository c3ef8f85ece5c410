"""Throughput profile, as the simulator reads it: which measured numbers enter the economy.

The node writes the file (schema v1, `reference_node/profiles/profile.schema.json`); this edge refuses unknown
keys, other schema versions and files whose content hash does not match, and keeps what the serving model
needs. A profile is never trusted by name: `measured` and the hash travel into every manifest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import InputError, Problem
from models.serving import (
    PromptFit,
    StepFit,
    fit_joining,
    fit_prompts,
    joining_alone,
    profile_sha256,
    step_time_ms,
)

STEP_TOKENS = 512
"""Most tokens of an engine's step where a profile does not say."""


@dataclass(frozen=True, slots=True)
class ServingWindow:
    """One measured open-loop run of the profile, kept to check the simulator against it (times in ms)."""

    holdout: bool
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
    fit
        Decode step time.
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

    @property
    def prefill_ms_per_token(self) -> float:
        """Milliseconds that a prompt token adds to a forward over prompts alone."""
        return self.prompts.token


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


NonNegative = Field(ge=0)
Positive = Field(gt=0)


class _Device(_Strict):
    kind: Literal["cpu", "cuda", "endpoint"]
    name: str
    count: int = NonNegative
    memory_bytes: int = NonNegative
    driver: str | None
    measured_bw_Bps: float | None = NonNegative  # noqa: N815 (the schema's name, with its unit)
    measured_flops: float | None = NonNegative


class _Software(_Strict):
    python: str
    torch: str
    triton: str | None
    attention_impl: str
    cuda_graphs: bool
    threads: int = NonNegative
    clock: Literal["processor", "wall"]


class _Model(_Strict):
    arch: str
    params: int = NonNegative
    streamed_bytes: int = NonNegative
    kv_bytes_per_token: int = NonNegative
    dtype: str
    weights_sha256: str
    random_weights: bool


class _Lora(_Strict):
    rank: int = NonNegative
    targets: list[str]
    bytes_per_adapter: int = NonNegative
    resident_slots: int = NonNegative
    host_slots: int = NonNegative


class _Decode(_Strict):
    batch: int = NonNegative
    distinct_adapters: int = NonNegative
    rank: int = NonNegative
    context: int = NonNegative
    tok_s: float = NonNegative
    step_ms_p50: float = Positive
    step_ms_p99: float = NonNegative
    ratio_to_base: float = NonNegative
    fraction_of_roofline: float | None = NonNegative
    samples_ms: list[float]


class _Prefill(_Strict):
    tokens: int = NonNegative
    batch: int = NonNegative
    tok_s: float = Positive
    ttft_ms_p50: float = Positive
    ttft_ms_p99: float = NonNegative
    samples_ms: list[float]


class _Mixed(_Strict):
    batch: int = NonNegative
    tokens: int = NonNegative
    distinct_adapters: int = NonNegative
    rank: int = NonNegative
    context: int = NonNegative
    step_ms_p50: float = Positive
    step_ms_p99: float = NonNegative
    samples_ms: list[float]


class _AdapterLoad(_Strict):
    gpu_hit_ms: float = NonNegative
    host_to_gpu_ms_p50: float = NonNegative
    host_to_gpu_ms_p99: float = NonNegative
    disk_to_gpu_ms_p50: float = NonNegative
    disk_to_gpu_ms_p99: float = NonNegative
    validate_ms: float = NonNegative


class _Quantiles(_Strict):
    p50: float = NonNegative
    p90: float = NonNegative
    p99: float = NonNegative


class _Slo(_Strict):
    ttft_ms: float = NonNegative
    tpot_ms: float = NonNegative


class _Serving(_Strict):
    holdout: bool
    arrival_rate: float = NonNegative
    zipf_alpha: float = NonNegative
    adapters: int = NonNegative
    cache_policy: Literal["lru", "unload_always", "resident"]
    batch_max: int = NonNegative
    rank: int = NonNegative
    input_tokens: int = NonNegative
    output_tokens: int = NonNegative
    duration_s: float = NonNegative
    completed: int = NonNegative
    failed: int = NonNegative
    output_tok_s: float = NonNegative
    goodput: float = NonNegative
    slo: _Slo
    ttft_ms: _Quantiles
    tpot_ms: _Quantiles
    itl_ms: _Quantiles
    e2e_ms: _Quantiles
    kv_used_peak: float = Field(ge=0, le=1)
    hit_rate: float = Field(ge=0, le=1)
    preemptions: int = NonNegative


class _Energy(_Strict):
    joules_per_token: float | None = Field(ge=0)
    method: Literal["nvml", "none"]


class _Price(_Strict):
    usd_per_hour: float = NonNegative
    source: Literal["assumed"]


class _Fit(_Strict):
    a: float = NonNegative
    b: float = NonNegative
    c: float = NonNegative
    d: float = NonNegative
    r2: float
    max_rel_err: float = NonNegative
    regroup_ms: float = Field(default=0.0, ge=0)


class _Provenance(_Strict):
    measured: bool
    n_repeats: int = NonNegative
    processor_share: float = Field(ge=0, le=1)
    command: str
    sha256: str


class _Profile(_Strict):
    schema_: Literal[1] = Field(alias="schema")
    id: str
    created: str
    node_version: str
    git_rev: str
    device: _Device
    software: _Software
    model: _Model
    lora: _Lora
    decode: list[_Decode]
    prefill: list[_Prefill]
    mixed: list[_Mixed] = Field(default_factory=list)
    adapter_load: _AdapterLoad
    serving: list[_Serving]
    energy: _Energy
    price: _Price
    fit: _Fit
    provenance: _Provenance


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
        parsed = _Profile.model_validate(document)
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


def _reduce(parsed: _Profile, path: Path) -> ServingProfile:
    whole = [row for row in parsed.prefill if row.tokens * row.batch <= STEP_TOKENS]
    if len({row.tokens for row in whole}) < 2 or not parsed.decode or parsed.lora.resident_slots < 1:
        message = (
            f"needs decode rows, prefill rows of at least two lengths and at most {STEP_TOKENS} tokens, "
            "and lora.resident_slots of 1 or more"
        )
        raise InputError([Problem(message, where=str(path))])
    loads = parsed.adapter_load
    fit = StepFit(**parsed.fit.model_dump(exclude={"regroup_ms"}))
    prompts = _prompts(whole)
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
        prompts=prompts,
        joining=_joining(fit, prompts, parsed.mixed),
        gpu_hit_ms=loads.gpu_hit_ms,
        host_load_ms=loads.host_to_gpu_ms_p50,
        disk_load_ms=loads.disk_to_gpu_ms_p50,
        rank=parsed.lora.rank,
        slots=parsed.lora.resident_slots,
        host_slots=parsed.lora.host_slots,
        batch_max=max(row.batch for row in parsed.decode),
        context_max=max(row.context for row in parsed.decode),
        regroup_ms=parsed.fit.regroup_ms,
        windows=tuple(_window(row) for row in parsed.serving),
    )


def _prompts(rows: list[_Prefill]) -> PromptFit:
    """Fit the forwards behind prefill rows; with too few rows of several prompts, those of one alone."""
    if len(rows) < 3:
        rows = [row for row in rows if row.batch == rows[0].batch]
    tokens = [row.tokens * row.batch for row in rows]
    # `tok_s` counts to the last of the prompts, so it gives the duration of the whole forward
    forward = [1e3 * total / row.tok_s for total, row in zip(tokens, rows, strict=True)]
    return fit_prompts(tokens, [row.batch for row in rows], forward)


def _joining(fit: StepFit, prompts: PromptFit, rows: list[_Mixed]) -> PromptFit:
    """Fit what a prompt adds to decode rows; a longer one than the step's budget rides in it with its first part."""
    if len({row.tokens for row in rows}) < 2:
        return joining_alone(fit, prompts)
    decode = [
        float(step_time_ms(fit, row.batch, row.distinct_adapters, row.rank, row.context)) for row in rows
    ]
    tokens = [min(row.tokens, STEP_TOKENS - row.batch) for row in rows]
    return fit_joining(decode, tokens, [row.step_ms_p50 for row in rows], prompts.chunk)


def _window(row: _Serving) -> ServingWindow:
    return ServingWindow(
        holdout=row.holdout,
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
