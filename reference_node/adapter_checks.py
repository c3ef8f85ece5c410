"""What a stranger's adapter must look like before a single tensor is made of it.

Two files are judged by their bytes alone: the configuration against an allow-list of settings (anything that changes
the computation and is not served must be off), and the safetensors header against the exact set of names, shapes and
offsets that this rank and these targets imply. Nothing here depends on peft or on the safetensors library, which accept
much of what is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from models.errors import InputError, Problem
from reference_node.config import ModelConfig
from reference_node.strict_json import parse_json, short
from reference_node.weights import module_path

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
RANK_MAX = 256
SCALE_MAX = 64.0  # of alpha / rank; common practice is 0.5 to 4, and 1e308 is accepted by peft
CONFIG_BYTES_MAX = 64 << 10
CONFIG_DEPTH_MAX = 4
HEADER_DEPTH_MAX = 3  # {name: {"shape": [...]}}
HEADER_BYTES_PER_TENSOR, HEADER_BYTES_OTHER = (
    512,
    64 << 10,
)  # real entries take about 150; the rest is metadata
PROBLEMS_MAX = 20
DTYPE_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
ENTRY_KEYS = {"dtype", "shape", "data_offsets"}

FIXED: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "task_type": ("CAUSAL_LM", None),
    "bias": ("none", None),
    # PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA start from a changed base: their update is not one of this base
    "init_lora_weights": (True, False, None, "gaussian", "orthogonal", "eva"),
}
USED = ("r", "lora_alpha", "target_modules")
# These describe training or origin and do not change what an already trained adapter computes.
IGNORED = {
    "auto_mapping", "base_model_name_or_path", "revision", "peft_version", "inference_mode", "lora_dropout",
    "megatron_core", "qalora_group_size",
}  # fmt: skip
# These would change the computation; they are accepted only when off (null, false, empty).
MUST_BE_OFF = {
    "fan_in_fan_out", "use_rslora", "modules_to_save", "exclude_modules", "layers_to_transform",
    "layers_pattern", "rank_pattern", "alpha_pattern", "megatron_config", "trainable_token_indices",
    "loftq_config", "eva_config", "corda_config", "lora_ga_config", "use_dora", "velora_config",
    "alora_invocation_tokens", "use_qalora", "monteclora_config", "layer_replication", "runtime_config",
    "lora_bias", "target_parameters", "use_bdlora", "arrow_config", "kasa_config", "ensure_weight_tying",
}  # fmt: skip

Shape = tuple[int, int]


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """The part of an adapter's configuration that decides what is computed: rank, alpha, targets in fixed order."""

    rank: int
    alpha: float
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TensorSpan:
    """Where a tensor lies: its dtype by safetensors' name, its shape, its first byte and the byte after its last."""

    dtype: str
    shape: Shape
    begin: int
    end: int


def refuse(messages: list[str], where: str) -> None:
    """Raise all messages as one `InputError`, the first `PROBLEMS_MAX` in full; nothing when there are none."""
    if len(messages) > PROBLEMS_MAX:
        messages = [*messages[:PROBLEMS_MAX], f"and {len(messages) - PROBLEMS_MAX} more"]
    if messages:
        raise InputError([Problem(message, where=where) for message in messages])


def check_settings(data: bytes, where: str, rank_max: int = RANK_MAX) -> AdapterSettings:
    """Return the effective settings of an `adapter_config.json`.

    Parameters
    ----------
    data
        The file's bytes.
    where
        File that an error names.
    rank_max
        Largest rank accepted.

    Raises
    ------
    InputError
        With every setting that is unknown, on although it is not served, or out of range.
    """
    raw = parse_json(data, where=where, bytes_max=CONFIG_BYTES_MAX, depth_max=CONFIG_DEPTH_MAX)
    if not isinstance(raw, dict):
        raise InputError([Problem("the adapter's configuration is not a mapping", where=where)])
    wrong = _unserved(raw)
    used: list[Any] = [raw.get(key) for key in USED]
    rank, alpha, targets = used
    if type(rank) is not int or not 1 <= rank <= rank_max:
        wrong.append(f"r: {short(repr(rank))} is out of range; allowed 1 to {rank_max}")
    # compared as it is: an integer of 400 digits has no float
    elif type(alpha) not in (int, float) or not 0 < alpha <= SCALE_MAX * rank:
        wrong.append(
            f"lora_alpha: {short(repr(alpha))} is out of range; allowed above 0 and at most {SCALE_MAX:g} x r"
        )
    if not isinstance(targets, list) or not targets or any(target not in TARGETS for target in targets):
        wrong.append(f"target_modules: {short(repr(targets))} is not a list of {', '.join(TARGETS)}")
    refuse(wrong, where)
    return AdapterSettings(rank, float(alpha), tuple(target for target in TARGETS if target in targets))


def _unserved(raw: Mapping[str, Any]) -> list[str]:
    """Return what is said by settings that the node does not serve."""
    wrong = [
        f"{key}: {short(repr(raw.get(key)))} is not supported; allowed {', '.join(map(repr, allowed))}"
        for key, allowed in FIXED.items()
        # by type too: 1 equals True
        if not any(type(raw.get(key)) is type(value) and raw.get(key) == value for value in allowed)
    ]
    wrong += [
        f"{key}: {short(repr(raw[key]))} is not supported; it must be off"
        for key in sorted(MUST_BE_OFF & raw.keys())
        if raw[key]
    ]
    known = FIXED.keys() | set(USED) | IGNORED | MUST_BE_OFF
    return wrong + [f"{short(key)}: unknown setting" for key in sorted(raw.keys() - known)]


def expected_shapes(config: ModelConfig, rank: int, targets: tuple[str, ...]) -> dict[str, Shape]:
    """Return the exact tensor names and shapes of an adapter: A (rank, in), B (out, rank) per projection."""
    projections, shapes = config.projections(), {}
    for layer in range(config.layers):
        for target in targets:
            out, inp = projections[target]
            a, b = tensor_names(layer, target)
            shapes[a], shapes[b] = (rank, inp), (out, rank)
    return shapes


def tensor_names(layer: int, projection: str) -> tuple[str, str]:
    """Return peft's names of A and B of a projection.

    Examples
    --------
    >>> tensor_names(0, "q_proj")[0]
    'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight'
    """
    base = f"base_model.model.{module_path(layer, projection)}"
    return f"{base}.lora_A.weight", f"{base}.lora_B.weight"


def header_bytes_max(expected: Mapping[str, Shape]) -> int:
    """Return the largest header, in bytes, of an archive of these tensors."""
    return HEADER_BYTES_OTHER + HEADER_BYTES_PER_TENSOR * len(expected)


def weights_bytes_max(expected: Mapping[str, Shape]) -> int:
    """Return the largest archive, in bytes, of these tensors: all in single precision, header included."""
    values = sum(rows * columns for rows, columns in expected.values())
    return 8 + header_bytes_max(expected) + max(DTYPE_BYTES.values()) * values


def check_header(data: bytes, expected: Mapping[str, Shape], where: str) -> dict[str, TensorSpan]:
    """Return where each tensor lies in a safetensors archive that holds exactly the expected ones.

    Parameters
    ----------
    data
        The whole archive.
    expected
        Names and shapes that it must hold, no more and no less.
    where
        File that an error names.

    Raises
    ------
    InputError
        With every tensor that is missing, not expected, of another shape or dtype, or whose bytes are not exactly
        those after the tensor before it.
    """
    if len(data) > weights_bytes_max(expected):
        limit = weights_bytes_max(expected)
        raise InputError(
            [Problem(f"{len(data)} bytes; an adapter of this rank holds at most {limit}", where=where)]
        )
    length = int.from_bytes(data[:8], "little")
    limit = min(header_bytes_max(expected), len(data) - 8)
    if len(data) < 8 or length > limit:
        message = (
            f"not a safetensors archive: header of {length} bytes; allowed {max(limit, 0)}, within the file"
        )
        raise InputError([Problem(message, where=where)])
    raw = parse_json(
        data[8 : 8 + length], where=f"{where}: header", bytes_max=length, depth_max=HEADER_DEPTH_MAX
    )
    if not isinstance(raw, dict):
        raise InputError([Problem("not a mapping", where=f"{where}: header")])
    wrong = _metadata_faults(raw.pop("__metadata__", {}))
    wrong += [f"tensor {name} is missing" for name in expected if name not in raw]
    wrong += [f"tensor {short(name)} is not expected" for name in raw if name not in expected]
    spans = {}
    for name in (name for name in expected if name in raw):
        span = _span(raw[name])
        if span is None or span.shape != expected[name] or span.dtype not in DTYPE_BYTES:
            wrong.append(_wrong_entry(name, raw[name], expected[name]))
        else:
            spans[name] = span
    refuse(wrong, where)
    refuse(_offset_faults(spans, len(data) - 8 - length), where)
    return spans


def _span(entry: Any) -> TensorSpan | None:
    """Return a header's entry, or None when it does not have the form of one."""
    if not isinstance(entry, dict) or entry.keys() != ENTRY_KEYS or not isinstance(entry["dtype"], str):
        return None
    numbers = (entry["shape"], entry["data_offsets"])
    if any(not isinstance(pair, list) or len(pair) != 2 for pair in numbers):
        return None
    if any(type(number) is not int or number < 0 for pair in numbers for number in pair):
        return None
    (rows, columns), (begin, end) = numbers
    return TensorSpan(entry["dtype"], (rows, columns), begin, end)


def _wrong_entry(name: str, entry: Any, shape: Shape) -> str:
    found = f"{entry.get('dtype')} {entry.get('shape')}" if isinstance(entry, dict) else repr(entry)
    return f"tensor {name} is {short(found)}, expected {' or '.join(DTYPE_BYTES)} {list(shape)} with data_offsets"


def _metadata_faults(metadata: Any) -> list[str]:
    if isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values()):
        return []
    return ["__metadata__ is not a mapping of text to text"]


def _offset_faults(spans: Mapping[str, TensorSpan], size: int) -> list[str]:
    """Return what is wrong with the offsets: they must tile the data from 0 to its size without gap or overlap."""
    wrong = []
    for name, span in spans.items():
        need = DTYPE_BYTES[span.dtype] * span.shape[0] * span.shape[1]
        if span.end - span.begin != need:
            wrong.append(f"tensor {name}: offsets {span.begin} to {span.end} do not hold its {need} bytes")
    ordered = sorted(spans.items(), key=lambda item: (item[1].begin, item[1].end))
    for (before, earlier), (name, later) in pairwise(ordered):
        if later.begin != earlier.end:
            kind = "overlaps" if later.begin < earlier.end else "leaves a gap after"
            wrong.append(f"tensor {name} {kind} {before}: it begins at {later.begin}, not at {earlier.end}")
    first, last = ordered[0][1].begin, ordered[-1][1].end
    if first != 0 or last != size:
        wrong.append(f"the tensors cover bytes {first} to {last} of the data, which has {size}")
    return wrong
