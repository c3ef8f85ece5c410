"""Serving model: what a LoRA node's measured profile says about tokens, waiting, capacity and cost.

Rules decided here: the duration of one decode step is linear in batch, in distinct adapters times rank, and
in batch times context (`fit` of the profile); prompt chunks ride in the same forward, whose fixed cost is paid
once; popularity is Zipf. `sim/serving` only queues with these formulas (caches: `models/caching.py`; waits:
`models/queueing.py`; a machine per model: `models/dedicated.py`). Everything is pure, takes scalars or arrays that
broadcast to `(runs,)`, and returns float64. Times are milliseconds where the name says `_ms`, else seconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class StepFit:
    """Coefficients of `step_ms = a + b*batch + c*distinct*rank + d*batch*context`.

    Parameters
    ----------
    a, b, c, d
        Milliseconds per step; per row; per distinct adapter and rank; per row and token of context.
    r2
        Coefficient of determination over the fitted rows.
    max_rel_err
        Largest absolute relative error over the fitted rows.
    """

    a: float
    b: float
    c: float
    d: float
    r2: float
    max_rel_err: float


@dataclass(frozen=True, slots=True)
class PromptFit:
    """What prompts take in a forward, `ms = base + chunk*chunks + token*tokens`.

    Parameters
    ----------
    base, chunk, token
        Milliseconds per forward; per prompt (or part of one) in it; per prompt token.
    """

    base: float
    chunk: float
    token: float


def _f(value: ArrayLike) -> FloatArray:
    return np.asarray(value, dtype=np.float64)


def step_time_ms(
    fit: StepFit, batch: ArrayLike, distinct: ArrayLike, rank: ArrayLike, context: ArrayLike
) -> FloatArray:
    """Return the duration of one decode step (profile schema v1, `fit`).

    Parameters
    ----------
    fit
        Measured coefficients.
    batch, distinct, rank, context
        Rows; distinct adapters among them; LoRA rank; mean tokens of context per row.

    Returns
    -------
    FloatArray
        Milliseconds.

    Examples
    --------
    >>> float(step_time_ms(StepFit(1.0, 0.5, 0.25, 0.125, 1.0, 0.0), 8, 4, 16, 100))
    121.0
    """
    rows = _f(batch)
    return fit.a + fit.b * rows + fit.c * _f(distinct) * _f(rank) + fit.d * rows * _f(context)


def decode_tokens_per_s(
    fit: StepFit, batch: ArrayLike, distinct: ArrayLike, rank: ArrayLike, context: ArrayLike
) -> FloatArray:
    """Return the decode rate of one replica in tokens per second: batch / step time."""
    return 1e3 * _f(batch) / step_time_ms(fit, batch, distinct, rank, context)


def fit_step_time(
    batch: ArrayLike, distinct: ArrayLike, rank: ArrayLike, context: ArrayLike, step_ms: ArrayLike
) -> StepFit:
    """Fit the step-time line to measured rows: relative least squares, no coefficient below 0.

    Relative, because a step of one row and a step of 128 rows matter alike; not negative, because a negative
    cost would make extrapolated steps free.

    Parameters
    ----------
    batch, distinct, rank, context, step_ms
        One entry per measured row, shape (rows,).

    Raises
    ------
    ValueError
        When there are fewer rows than coefficients, or a duration is not positive.
    """
    rows, target = _f(batch), _f(step_ms)
    if rows.size < 4 or not np.all(target > 0):
        raise ValueError(f"fit needs at least 4 rows of positive step times, got {rows.size}")
    design = np.stack([np.ones_like(rows), rows, _f(distinct) * _f(rank), rows * _f(context)], axis=1)
    coefficients = _nonnegative_relative(design, target)
    predicted = design @ coefficients
    spread = float(np.sum((target - target.mean()) ** 2))
    r2 = 1.0 - float(np.sum((target - predicted) ** 2)) / spread if spread > 0 else 1.0
    a, b, c, d = (float(x) for x in coefficients)
    return StepFit(a, b, c, d, r2, float(np.max(np.abs(predicted / target - 1.0))))


def fit_prompts(tokens: ArrayLike, chunks: ArrayLike, forward_ms: ArrayLike) -> PromptFit:
    """Fit forwards over prompts alone like `fit_step_time`, shapes (rows,).

    Parameters
    ----------
    tokens, chunks, forward_ms
        Tokens and prompts of each forward, and its duration. Where every forward held one prompt, what a
        prompt costs cannot be told from what a forward costs and counts as the forward's.

    Raises
    ------
    ValueError
        When there are fewer rows than coefficients, or a duration is not positive.
    """
    count, prompts, target = _f(tokens), _f(chunks), _f(forward_ms)
    columns = [np.ones_like(count), count, prompts][: 3 if np.ptp(prompts) > 0 else 2]
    if count.size < len(columns) or not np.all(target > 0):
        raise ValueError(
            f"fit needs at least {len(columns)} rows of positive prefill times, got {count.size}"
        )
    base, token, *chunk = (float(x) for x in _nonnegative_relative(np.stack(columns, axis=1), target))
    return PromptFit(base, chunk[0] if chunk else 0.0, token)


def fit_joining(decode_ms: ArrayLike, tokens: ArrayLike, step_ms: ArrayLike, chunk: float) -> PromptFit:
    """Fit what one prompt adds to a step of decode rows, relative to the step, no coefficient below 0.

    Parameters
    ----------
    decode_ms, tokens, step_ms
        The same step without the prompt (`step_time_ms`), the prompt's tokens in it, and its measured duration,
        shapes (rows,).
    chunk
        What a further prompt costs in a forward over prompts alone, `PromptFit.chunk`: one row holds one prompt
        and cannot say how much of what is fixed is paid again by a second.

    Raises
    ------
    ValueError
        When there are fewer than two rows, or a duration is not positive.
    """
    count, whole = _f(tokens), _f(step_ms)
    if count.size < 2 or not np.all(whole > 0):
        raise ValueError(f"fit needs at least 2 rows of positive step times, got {count.size}")
    design = np.stack([np.ones_like(count), count], axis=1) / whole[:, None]
    added = 1.0 - _f(decode_ms) / whole
    fixed, token = np.linalg.lstsq(design, added, rcond=None)[0]
    if fixed < 0.0 or token < 0.0:
        column = 1 if fixed < 0.0 else 0
        only = max(float(design[:, column] @ added / (design[:, column] @ design[:, column])), 0.0)
        fixed, token = (0.0, only) if column else (only, 0.0)
    again = min(chunk, float(fixed))
    return PromptFit(float(fixed) - again, again, float(token))


def joining_alone(fit: StepFit, prompts: PromptFit) -> PromptFit:
    """Return what prompts add to a step of decode rows where that was not measured: all but a forward's cost."""
    return PromptFit(max(prompts.base - fit.a, 0.0), prompts.chunk, prompts.token)


def mixed_step_ms(
    decode_ms: ArrayLike, prompts: PromptFit, joining: PromptFit, tokens: ArrayLike, chunks: ArrayLike
) -> FloatArray:
    """Return the duration of one forward over decode rows and prompt chunks together.

    With rows it is the decode step and what prompts add to such a step, so that the fixed cost of a forward is paid
    once; without rows it is that of prompts alone.

    Parameters
    ----------
    decode_ms
        The step without prompts; 0 where it has no decode rows.
    prompts, joining
        Measured coefficients of prompts alone, and of prompts that join decode rows.
    tokens, chunks
        Prompt tokens in the forward and the prompts that they belong to.

    Examples
    --------
    >>> alone, joining = PromptFit(3.0, 2.0, 0.0625), PromptFit(1.0, 0.5, 0.03125)
    >>> [float(mixed_step_ms(ms, alone, joining, t, t // 64)) for ms, t in ((9.0, 0), (0.0, 64), (9.0, 64))]
    [9.0, 9.0, 12.5]
    """
    alone, beside = (p.base + p.chunk * _f(chunks) + p.token * _f(tokens) for p in (prompts, joining))
    added = np.where(_f(decode_ms) > 0, beside, alone)
    return np.asarray(_f(decode_ms) + np.where(_f(tokens) > 0, added, 0.0))


def batch_factors(batch: ArrayLike, fitted_ms: ArrayLike, step_ms: ArrayLike, batch_max: int) -> FloatArray:
    """Return what a line misses by batch: measured over fitted, shape (batch_max + 1,), entry n for n rows.

    The geometric mean over the measured rows of each batch, linear in log(batch) between them: kernels work in
    tiles, so a step is no straight line in its rows.

    Parameters
    ----------
    batch, fitted_ms, step_ms
        One entry per measured decode row, shape (rows,).
    batch_max
        Largest batch wanted; beyond the measured ones the nearest counts.

    Examples
    --------
    >>> batch_factors([1, 4, 4], [1.0, 2.0, 2.0], [1.0, 1.0, 4.0], 4).round(3).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    >>> batch_factors([1, 4], [1.0, 2.0], [1.0, 4.0], 4).round(3).tolist()
    [1.0, 1.0, 1.5, 1.792, 2.0]
    """
    rows, logs = _f(batch), np.log(_f(step_ms) / _f(fitted_ms))
    known = np.unique(rows)
    means = np.exp([logs[rows == size].mean() for size in known])
    wanted = np.log(np.maximum(np.arange(batch_max + 1), 1))
    return np.asarray(np.interp(wanted, np.log(known), means))


def _nonnegative_relative(design: FloatArray, target: FloatArray) -> FloatArray:
    """Relative least squares, dropping the most negative coefficient until none is left."""
    active = list(range(design.shape[1]))
    scaled = design / target[:, None]
    while True:
        solution = np.linalg.lstsq(scaled[:, active], np.ones_like(target), rcond=None)[0]
        worst = int(np.argmin(solution))
        if solution[worst] >= 0.0 or len(active) == 1:
            break
        active.pop(worst)
    coefficients = np.zeros(design.shape[1])
    coefficients[active] = np.maximum(solution, 0.0)
    return coefficients


def zipf_popularity(adapters: int, exponent: float) -> FloatArray:
    """Return request shares p_i ~ 1/i^exponent of `adapters` adapters, most popular first, shape (adapters,).

    Raises
    ------
    ValueError
        When there is no adapter or the exponent is negative.
    """
    if adapters < 1 or not exponent >= 0.0:
        raise ValueError(f"adapters {adapters} must be 1 or more and exponent {exponent} 0 or more")
    weight = np.arange(1, adapters + 1, dtype=np.float64) ** -exponent
    return np.asarray(weight / weight.sum())


def expected_distinct_uniform(adapters: ArrayLike, batch: ArrayLike) -> FloatArray:
    """Return distinct adapters among `batch` uniform requests, n*(1-(1-1/n)^B)."""
    n = _f(adapters)
    return n * (1.0 - (1.0 - 1.0 / n) ** _f(batch))


def expected_distinct(popularity: FloatArray, batch: ArrayLike) -> FloatArray:
    """Return distinct adapters among `batch` requests, sum_i 1-(1-p_i)^B; shape of `batch`."""
    return np.asarray(np.sum(1.0 - (1.0 - popularity) ** _f(batch)[..., None], axis=-1))


def prompt_work_ms(joining: PromptFit, tokens: ArrayLike, step_tokens: int) -> FloatArray:
    """Return what a prompt adds to the steps of decode rows that it rides in.

    Parameters
    ----------
    joining
        Measured coefficients.
    tokens
        Tokens of the prompt.
    step_tokens
        Most tokens of a step: a longer prompt needs several.
    """
    steps = np.ceil(_f(tokens) / step_tokens)
    return (joining.base + joining.chunk) * steps + joining.token * _f(tokens)


def request_work_ms(
    prompt_ms: ArrayLike, load_ms: ArrayLike, output_tokens: ArrayLike, step_ms: ArrayLike, batch: ArrayLike
) -> FloatArray:
    """Return a replica's time for one request at a full batch: load + prompt + (out-1) * step / batch.

    The first token comes from the prompt's last chunk, so a request takes part in `output_tokens - 1` steps.
    `load_ms` is the part of loading that the replica waits for.
    """
    return _f(load_ms) + _f(prompt_ms) + np.maximum(_f(output_tokens) - 1.0, 0.0) * _f(step_ms) / _f(batch)


def capacity_tokens_per_day(
    replicas: ArrayLike, work_ms: ArrayLike, tokens_per_request: ArrayLike
) -> FloatArray:
    """Return tokens (in + out) served in a day: replicas * 86,400 s / work * tokens per request."""
    return _f(replicas) * SECONDS_PER_DAY * 1e3 / _f(work_ms) * _f(tokens_per_request)


def usd_per_million_tokens(
    usd_per_hour: ArrayLike, replicas: ArrayLike, tokens_per_day: ArrayLike
) -> FloatArray:
    """Return the fleet's cost per 1M tokens in USD; infinite where nothing is served."""
    cost, tokens = _f(usd_per_hour) * 24.0 * _f(replicas), _f(tokens_per_day)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(tokens > 0.0, cost * 1e6 / tokens, np.inf)


def decode_bytes(
    weight_bytes: ArrayLike,
    adapter_bytes: ArrayLike,
    distinct: ArrayLike,
    kv_bytes_per_token: ArrayLike,
    batch: ArrayLike,
    context: ArrayLike,
) -> FloatArray:
    """Return bytes streamed by one decode step: weights, each distinct adapter, every row's keys and values.

    Roofline of decoding: bytes = 2W + 2*d*P(r) + B*ctx*kv in bf16, where `adapter_bytes` = 2*P(r).
    """
    return (
        _f(weight_bytes) + _f(distinct) * _f(adapter_bytes) + _f(batch) * _f(context) * _f(kv_bytes_per_token)
    )


def decode_flops(
    parameters: ArrayLike,
    adapter_parameters: ArrayLike,
    batch: ArrayLike,
    context: ArrayLike,
    width: ArrayLike,
    layers: ArrayLike,
) -> FloatArray:
    """Return floating-point operations of one decode step: 2B*(W+P(r)) + 4*B*ctx*h*L."""
    rows = _f(batch)
    return 2.0 * rows * (_f(parameters) + _f(adapter_parameters)) + 4.0 * rows * _f(context) * _f(width) * _f(
        layers
    )


def roofline_step_ms(
    bytes_: ArrayLike, flops: ArrayLike, bandwidth_bytes_per_s: ArrayLike, flops_per_s: ArrayLike
) -> FloatArray:
    """Return the shortest possible step, max(bytes/bandwidth, flops/rate), in milliseconds."""
    return 1e3 * np.maximum(_f(bytes_) / _f(bandwidth_bytes_per_s), _f(flops) / _f(flops_per_s))


def profile_sha256(document: Mapping[str, Any]) -> str:
    """Return the content hash of a throughput profile: canonical JSON with `provenance.sha256` left out."""
    provenance = {key: value for key, value in document["provenance"].items() if key != "sha256"}
    canonical = json.dumps(
        {**document, "provenance": provenance}, sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(canonical.encode()).hexdigest()
