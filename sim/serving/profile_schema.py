"""Throughput profile, schema v1, as the simulator accepts it: keys, types and bounds.

Rule decided here: unknown keys are refused and numbers are finite. The node's own definition of the schema is
`reference_node/profile.py`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """Frozen, finite, without unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


NonNegative = Field(ge=0)
Positive = Field(gt=0)


class Device(Strict):
    """What was measured."""

    kind: Literal["cpu", "cuda", "endpoint"]
    name: str
    count: int = NonNegative
    memory_bytes: int = NonNegative
    driver: str | None
    measured_bw_Bps: float | None = NonNegative  # noqa: N815 (the schema's name, with its unit)
    measured_flops: float | None = NonNegative


class Software(Strict):
    """What it ran."""

    python: str
    torch: str
    triton: str | None
    attention_impl: str
    cuda_graphs: bool
    threads: int = NonNegative
    clock: Literal["processor", "wall"]


class Model(Strict):
    """The base model."""

    arch: str
    params: int = NonNegative
    streamed_bytes: int = NonNegative
    kv_bytes_per_token: int = NonNegative
    dtype: str
    weights_sha256: str
    random_weights: bool


class Lora(Strict):
    """Adapters and the room for them."""

    rank: int = NonNegative
    targets: list[str]
    bytes_per_adapter: int = NonNegative
    resident_slots: int = NonNegative
    host_slots: int = NonNegative


class DecodeRow(Strict):
    """One decode setting."""

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


class PrefillRow(Strict):
    """Prompts alone."""

    tokens: int = NonNegative
    batch: int = NonNegative
    tok_s: float = Positive
    ttft_ms_p50: float = Positive
    ttft_ms_p99: float = NonNegative
    samples_ms: list[float]


class MixedRow(Strict):
    """A prompt that joins decode rows."""

    batch: int = NonNegative
    tokens: int = NonNegative
    distinct_adapters: int = NonNegative
    rank: int = NonNegative
    context: int = NonNegative
    step_ms_p50: float = Positive
    step_ms_p99: float = NonNegative
    samples_ms: list[float]


class AdapterLoad(Strict):
    """Load times by tier."""

    gpu_hit_ms: float = NonNegative
    host_to_gpu_ms_p50: float = NonNegative
    host_to_gpu_ms_p99: float = NonNegative
    disk_to_gpu_ms_p50: float = NonNegative
    disk_to_gpu_ms_p99: float = NonNegative
    validate_ms: float = NonNegative


class Quantiles(Strict):
    """Of one latency, in ms."""

    p50: float = NonNegative
    p90: float = NonNegative
    p99: float = NonNegative


class Slo(Strict):
    """Bounds of goodput."""

    ttft_ms: float = NonNegative
    tpot_ms: float = NonNegative


class ServingRow(Strict):
    """One open-loop run."""

    holdout: bool
    seed: int = NonNegative
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
    slo: Slo
    ttft_ms: Quantiles
    tpot_ms: Quantiles
    itl_ms: Quantiles
    e2e_ms: Quantiles
    kv_used_peak: float = Field(ge=0, le=1)
    hit_rate: float = Field(ge=0, le=1)
    preemptions: int = NonNegative


class Energy(Strict):
    """Energy per token."""

    joules_per_token: float | None = Field(ge=0)
    method: Literal["nvml", "none"]


class Price(Strict):
    """Price of an hour, never measured."""

    usd_per_hour: float = NonNegative
    source: Literal["assumed"]


class Fit(Strict):
    """Coefficients of the decode step."""

    a: float = NonNegative
    b: float = NonNegative
    c: float = NonNegative
    d: float = NonNegative
    r2: float
    max_rel_err: float = NonNegative
    regroup_ms: float = NonNegative


class Provenance(Strict):
    """How the file came to be."""

    measured: bool
    n_repeats: int = NonNegative
    processor_share: float = Field(ge=0, le=1)
    command: str
    sha256: str


class Profile(Strict):
    """The whole file."""

    schema_: Literal[1] = Field(alias="schema")
    id: str
    created: str
    node_version: str
    git_rev: str
    device: Device
    software: Software
    model: Model
    lora: Lora
    decode: list[DecodeRow]
    prefill: list[PrefillRow]
    mixed: list[MixedRow]
    adapter_load: AdapterLoad
    serving: list[ServingRow]
    energy: Energy
    price: Price
    fit: Fit
    provenance: Provenance
