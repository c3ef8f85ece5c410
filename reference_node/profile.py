"""Throughput profile, schema v1: the file in which a node says what it measured.

The dataclasses below are the schema; `profiles/profile.schema.json` is generated from them (`profile_file.json_schema`)
and a test keeps the two equal. Units are in the names. Unknown keys are refused, `provenance.measured` is
mandatory, and `provenance.sha256` covers the whole content, so that an edited number is no measurement any
more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

SCHEMA_VERSION: Literal[1] = 1
ANY_SIGN: dict[str, Any] = {"minimum": None}
SHARE: dict[str, Any] = {"maximum": 1}
POSITIVE: dict[str, Any] = {"exclusiveMinimum": 0}


@dataclass(frozen=True, slots=True)
class Device:
    """What ran: kind and name, count, memory, driver; bandwidth and arithmetic rate as measured.

    An `endpoint` was measured over HTTP from outside, where the device cannot be seen.
    """

    kind: Literal["cpu", "cuda", "endpoint"]
    name: str
    count: int
    memory_bytes: int
    driver: str | None
    measured_bw_Bps: float | None  # noqa: N815 (the schema's name, with its unit)
    measured_flops: float | None


@dataclass(frozen=True, slots=True)
class Software:
    """Versions and switches of the run; `clock` is what all its times count."""

    python: str
    torch: str
    triton: str | None
    attention_impl: str
    cuda_graphs: bool
    threads: int
    clock: Literal["processor", "wall"]


@dataclass(frozen=True, slots=True)
class BaseModel:
    """The base model; `streamed_bytes` are read by every decode step."""

    arch: str
    params: int
    streamed_bytes: int
    kv_bytes_per_token: int
    dtype: str
    weights_sha256: str
    random_weights: bool


@dataclass(frozen=True, slots=True)
class Lora:
    """Adapters of the bench and the room that the pool had for them."""

    rank: int
    targets: list[str]
    bytes_per_adapter: int
    resident_slots: int
    host_slots: int


@dataclass(frozen=True, slots=True)
class DecodeRow:
    """One decode setting; `ratio_to_base` compares with no adapters at the same batch and context."""

    batch: int
    distinct_adapters: int
    rank: int
    context: int
    tok_s: float
    step_ms_p50: float = field(metadata=POSITIVE)
    step_ms_p99: float
    ratio_to_base: float
    fraction_of_roofline: float | None
    samples_ms: list[float]


@dataclass(frozen=True, slots=True)
class PrefillRow:
    """One prefill setting: `batch` prompts of `tokens` each, one adapter per prompt."""

    tokens: int
    batch: int
    tok_s: float
    ttft_ms_p50: float = field(metadata=POSITIVE)
    ttft_ms_p99: float
    samples_ms: list[float]


@dataclass(frozen=True, slots=True)
class MixedRow:
    """One step of `batch` decode rows in which a prompt of `tokens` joins and gets its first token."""

    batch: int
    tokens: int
    distinct_adapters: int
    rank: int
    context: int
    step_ms_p50: float = field(metadata=POSITIVE)
    step_ms_p99: float
    samples_ms: list[float]


@dataclass(frozen=True, slots=True)
class AdapterLoad:
    """Time until an adapter can serve, by where it was found; `gpu` is the pool on whatever device serves."""

    gpu_hit_ms: float
    host_to_gpu_ms_p50: float
    host_to_gpu_ms_p99: float
    disk_to_gpu_ms_p50: float
    disk_to_gpu_ms_p99: float
    validate_ms: float


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Three quantiles of one latency."""

    p50: float
    p90: float
    p99: float


@dataclass(frozen=True, slots=True)
class Slo:
    """Bounds that a request must meet to count as goodput."""

    ttft_ms: float
    tpot_ms: float


@dataclass(frozen=True, slots=True)
class ServingRow:
    """Open-loop runs of one load: Poisson arrivals, Zipf adapters; each figure is its median over the repeats.

    `goodput` is requests per second within the SLO. Arrivals and adapters follow from `seed`, so that a run can be
    simulated request by request.
    """

    holdout: bool
    seed: int
    arrival_rate: float
    zipf_alpha: float
    adapters: int
    cache_policy: Literal["lru", "unload_always", "resident"]
    batch_max: int
    rank: int
    input_tokens: int
    output_tokens: int
    duration_s: float
    completed: int
    failed: int
    output_tok_s: float
    goodput: float
    slo: Slo
    ttft_ms: Quantiles
    tpot_ms: Quantiles
    itl_ms: Quantiles
    e2e_ms: Quantiles
    kv_used_peak: float = field(metadata=SHARE)
    hit_rate: float = field(metadata=SHARE)
    preemptions: int


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy per generated token, where the device reports power."""

    joules_per_token: float | None
    method: Literal["nvml", "none"]


@dataclass(frozen=True, slots=True)
class Price:
    """Price of the device; a bench never measures it, and a scenario's own price replaces it."""

    usd_per_hour: float
    source: Literal["assumed"]


@dataclass(frozen=True, slots=True)
class Fit:
    """step_ms = a + b*batch + c*distinct_adapters*rank + d*batch*context, fitted to the decode rows.

    `regroup_ms` is what a decode step takes more when rows have joined or left since the one before.
    """

    a: float
    b: float
    c: float
    d: float
    r2: float = field(metadata=ANY_SIGN)
    max_rel_err: float
    regroup_ms: float


@dataclass(frozen=True, slots=True)
class Provenance:
    """Whether this is a measurement, how it was made, and the hash of everything else in the file.

    `processor_share` is processor time over wall time of the whole bench: near 1 on a core of its own. For an
    endpoint it is that of the measuring client, and near 1 means that the client was the limit.
    """

    measured: bool
    n_repeats: int
    processor_share: float = field(metadata=SHARE)
    command: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Profile:
    """A throughput profile."""

    schema: Literal[1]
    id: str
    created: str
    node_version: str
    git_rev: str
    device: Device
    software: Software
    model: BaseModel
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
