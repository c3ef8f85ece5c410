"""Throughput profile, schema v1: the file in which a node says what it measured.

The dataclasses below are the schema; `profiles/profile.schema.json` is generated from them (`json_schema`)
and a test keeps the two equal. Units are in the names. Unknown keys are refused, `provenance.measured` is
mandatory, and `provenance.sha256` covers the whole content, so that an edited number is no measurement any
more.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from models.errors import InputError, Problem
from models.serving import profile_sha256

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


def json_schema(kind: type = Profile) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a profile; numbers are not negative unless said otherwise."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "olsim throughput profile v1",
        **_schema_of(kind, {}),
    }


def write_profile(profile: Profile, path: Path) -> Profile:
    """Seal a profile with its content hash, check it, write it, and return the sealed profile."""
    document = dataclasses.asdict(profile)
    digest = profile_sha256(document)
    document["provenance"]["sha256"] = digest
    problems = _problems(document, json_schema(), "")
    if problems:
        raise InputError([Problem(message, where=str(path)) for message in problems])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_compact_rows(document), encoding="utf-8")
    return dataclasses.replace(profile, provenance=dataclasses.replace(profile.provenance, sha256=digest))


def read_profile(path: Path) -> Profile:
    """Read a profile.

    Raises
    ------
    InputError
        When the file is missing, no JSON, against the schema, or changed since it was sealed.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError([Problem(f"cannot read the profile: {error}", where=str(path))]) from error
    problems = _problems(document, json_schema(), "")
    if not problems and profile_sha256(document) != document["provenance"]["sha256"]:
        problems = ["provenance.sha256: the content was changed after it was measured"]
    if problems:
        raise InputError([Problem(message, where=str(path)) for message in problems])
    built: Profile = _build(Profile, document)
    return built


def _compact_rows(document: dict[str, Any]) -> str:
    """Format JSON with one line per row of a table, so that a change of a measurement is a readable diff."""
    lines = []
    for key, value in document.items():
        if isinstance(value, list) and value:
            body = "[\n    " + ",\n    ".join(json.dumps(row) for row in value) + "\n  ]"
        else:
            body = json.dumps(value)
        lines.append(f"  {json.dumps(key)}: {body}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _schema_of(kind: Any, extra: dict[str, Any]) -> dict[str, Any]:
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        members = dataclasses.fields(kind)
        return {
            "type": "object",
            "description": (kind.__doc__ or "").split("\n")[0],
            "properties": {f.name: _schema_of(hints[f.name], dict(f.metadata)) for f in members},
            "required": [f.name for f in members],
            "additionalProperties": False,
        }
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": _schema_of(arguments[0], {})}
    if origin in (typing.Union, types.UnionType):
        inner = _schema_of(arguments[0], extra)
        return {**inner, "type": [inner["type"], "null"]}
    if kind in (int, float):
        bounds = {"minimum": 0, **extra}
        return {
            "type": "integer" if kind is int else "number",
            **{k: v for k, v in bounds.items() if v is not None},
        }
    return {"type": {str: "string", bool: "boolean"}[kind]}


def _problems(value: Any, schema: dict[str, Any], path: str) -> list[str]:
    """Check a value against the subset of JSON Schema that `json_schema` emits; one message per fault."""
    if "enum" in schema:
        return (
            []
            if value in schema["enum"] and type(value) is not bool
            else [f"{path}: {value!r} is not one of {schema['enum']}"]
        )
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(_is_a(value, kind) for kind in kinds):
        return [f"{path or 'profile'}: {str(value)[:60]!r} is not {' or '.join(kinds)}"]
    if isinstance(value, dict):
        known = schema["properties"]
        found = [f"{_join(path, key)}: unknown key" for key in value if key not in known]
        found += [f"{_join(path, key)}: missing" for key in known if key not in value]
        return found + [
            m
            for key, item in value.items()
            if key in known
            for m in _problems(item, known[key], _join(path, key))
        ]
    if isinstance(value, list):
        return [
            m
            for index, item in enumerate(value)
            for m in _problems(item, schema["items"], f"{path}[{index}]")
        ]
    return _range_problems(value, schema, path) if isinstance(value, int | float) else []


def _range_problems(value: float, schema: dict[str, Any], path: str) -> list[str]:
    low, above, high = schema.get("minimum"), schema.get("exclusiveMinimum"), schema.get("maximum")
    if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
        top = "any finite number" if high is None else high
        return [f"{path}: {value!r} is out of range; allowed {low} to {top}"]
    return (
        [f"{path}: {value!r} is out of range; allowed above {above}"]
        if above is not None and value <= above
        else []
    )


def _is_a(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    accepted = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "null": type(None),
    }
    return isinstance(value, accepted.get(kind, ()))


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else str(key)


def _build(kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{name: _build(hints[name], item) for name, item in value.items()})  # type: ignore[operator]
    if typing.get_origin(kind) is list:
        return [_build(typing.get_args(kind)[0], item) for item in value]
    return value
