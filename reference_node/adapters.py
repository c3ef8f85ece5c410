"""LoRA adapters in peft's format: which uploads the node accepts, and the hash that names an adapter.

An adapter is one `adapter_model.safetensors` and one `adapter_config.json`. Everything is checked against the
file's own header before any tensor is allocated: exact key set, shapes, rank, bytes, scale. Pickle files are
never opened. The name of an adapter is the SHA-256 of its canonical tensors and its effective configuration,
not of the archive, so that repacking changes nothing and two identical uploads are one adapter.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save_file
from torch import Tensor

from models.errors import InputError, Problem
from reference_node.config import ModelConfig
from reference_node.weights import module_path, tensors_sha256

WEIGHTS_FILE, CONFIG_FILE = "adapter_model.safetensors", "adapter_config.json"
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
RANK_MAX = 256
SCALE_MAX = 64.0  # of alpha / rank; common practice is 0.5 to 4, and 1e308 is accepted by peft
HEADER_BYTES_MAX = 4 << 20
DTYPE_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
FIXED = {"peft_type": ("LORA",), "task_type": ("CAUSAL_LM", None), "bias": ("none",)}
USED = {"r", "lora_alpha", "target_modules"}
# These describe training or origin and do not change what an already trained adapter computes.
IGNORED = {
    "auto_mapping", "base_model_name_or_path", "revision", "peft_version", "inference_mode", "lora_dropout",
    "init_lora_weights", "megatron_core", "qalora_group_size",
}  # fmt: skip
# These would change the computation; they are accepted only when off (null, false, empty).
MUST_BE_OFF = {
    "fan_in_fan_out", "use_rslora", "modules_to_save", "exclude_modules", "layers_to_transform",
    "layers_pattern", "rank_pattern", "alpha_pattern", "megatron_config", "trainable_token_indices",
    "loftq_config", "eva_config", "corda_config", "lora_ga_config", "use_dora", "velora_config",
    "alora_invocation_tokens", "use_qalora", "monteclora_config", "layer_replication", "runtime_config",
    "lora_bias", "target_parameters", "use_bdlora", "arrow_config", "kasa_config", "ensure_weight_tying",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Adapter:
    """A validated adapter on the host.

    Parameters
    ----------
    sha256
        Content hash, the adapter's only name inside the node.
    rank, alpha
        LoRA rank and alpha; the update is `alpha / rank * B @ A`.
    targets
        Projections that carry an update, in the order of `TARGETS`.
    a, b
        Tensors by (layer, projection): A (rank, in), B (out, rank), both in the file's dtype.
    """

    sha256: str
    rank: int
    alpha: float
    targets: tuple[str, ...]
    a: dict[tuple[int, str], Tensor]
    b: dict[tuple[int, str], Tensor]

    @property
    def scale(self) -> float:
        """Return alpha / rank."""
        return self.alpha / self.rank

    def nbytes(self) -> int:
        """Return the bytes of all tensors."""
        return sum(t.numel() * t.element_size() for store in (self.a, self.b) for t in store.values())


def read_adapter(folder: Path, config: ModelConfig, *, rank_max: int = RANK_MAX) -> Adapter:
    """Read and validate an adapter folder for a base model of the given shape.

    Raises
    ------
    InputError
        With every reason for which the adapter is refused.
    """
    rank, alpha, targets = _read_adapter_config(folder / CONFIG_FILE, rank_max)
    expected = _expected_shapes(config, rank, targets)
    path = folder / WEIGHTS_FILE
    data = _read_bounded(path, expected)
    _check_header(data, expected, path)
    try:
        tensors = load_safetensors(data)
    except Exception as error:
        raise InputError([Problem(f"not a valid safetensors archive: {error}", where=str(path))]) from error
    broken = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise InputError(
            [Problem(f"tensor {name} holds NaN or infinity", where=str(path)) for name in broken]
        )
    return _build(config, rank, alpha, targets, tensors)


def save_adapter(adapter: Adapter, folder: Path) -> None:
    """Write an adapter in peft's format."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for (layer, projection), a in adapter.a.items():
        base = f"base_model.model.{module_path(layer, projection)}"
        tensors[f"{base}.lora_A.weight"] = a.contiguous()
        tensors[f"{base}.lora_B.weight"] = adapter.b[layer, projection].contiguous()
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "bias": "none",
        "inference_mode": True,
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "target_modules": list(adapter.targets),
    }
    (folder / CONFIG_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def random_adapter(
    config: ModelConfig,
    rank: int,
    seed: int,
    *,
    alpha: float | None = None,
    targets: tuple[str, ...] = TARGETS,
    dtype: torch.dtype = torch.float32,
    gain: float = 1.0,
) -> Adapter:
    """Return a seeded random adapter, B drawn at `gain` x 0.02: a load to serve, not a skill."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in _expected_shapes(config, rank, targets).items():
        spread = gain * (0.02 if name.endswith("lora_B.weight") else 1.0 / math.sqrt(shape[1]))
        tensors[name] = (torch.randn(shape, generator=generator) * spread).to(dtype)
    return _build(config, rank, float(2 * rank if alpha is None else alpha), targets, tensors)


def make_with_peft(
    model: Any,
    folder: Path,
    *,
    rank: int,
    seed: int,
    targets: tuple[str, ...] = TARGETS,
    spread: float = 0.02,
) -> None:
    """Make a seeded random adapter with peft on a transformers model and save it in peft's own format.

    Parameters
    ----------
    model
        A transformers model; left without adapters.
    folder
        Where `adapter_model.safetensors` and `adapter_config.json` are written.
    rank, seed, targets
        Of the adapter.
    spread
        Standard deviation of B, which is drawn too: peft starts it at zero, and such an adapter would equal
        the base.
    """
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    settings = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=list(targets), lora_dropout=0.0, task_type="CAUSAL_LM"
    )
    wrapped = get_peft_model(model, settings)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, spread)
    wrapped.save_pretrained(folder, safe_serialization=True)
    wrapped.unload()


def _read_adapter_config(path: Path, rank_max: int) -> tuple[int, float, tuple[str, ...]]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            [Problem(f"cannot read the adapter's configuration: {error}", where=str(path))]
        ) from error
    if not isinstance(raw, dict):
        raise InputError([Problem("the adapter's configuration is not a mapping", where=str(path))])
    wrong = [
        f"{key}: {raw.get(key)!r} is not supported; allowed {allowed}"
        for key, allowed in FIXED.items()
        if raw.get(key) not in allowed
    ]
    wrong += [
        f"{key}: {raw[key]!r} is not supported; it must be off"
        for key in sorted(MUST_BE_OFF & raw.keys())
        if raw[key]
    ]
    wrong += [
        f"{key}: unknown setting" for key in sorted(raw.keys() - FIXED.keys() - USED - IGNORED - MUST_BE_OFF)
    ]
    rank, alpha, targets = raw.get("r"), raw.get("lora_alpha"), raw.get("target_modules")
    if type(rank) is not int or not 1 <= rank <= rank_max:
        wrong.append(f"r: {rank!r} is out of range; allowed 1 to {rank_max}")
    elif type(alpha) not in (int, float) or not math.isfinite(alpha) or not 0 < alpha / rank <= SCALE_MAX:
        wrong.append(f"lora_alpha: {alpha!r} is out of range; allowed above 0 and at most {SCALE_MAX:g} x r")
    if not isinstance(targets, list) or not targets or not set(map(str, targets)) <= set(TARGETS):
        wrong.append(f"target_modules: {targets!r} is not a list of {', '.join(TARGETS)}")
    if wrong:
        raise InputError([Problem(message, where=str(path)) for message in wrong])
    return rank, float(alpha), tuple(t for t in TARGETS if t in targets)


def _expected_shapes(config: ModelConfig, rank: int, targets: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """Return the exact tensor names and shapes of an adapter."""
    projections, shapes = config.projections(), {}
    for layer in range(config.layers):
        for target in targets:
            out, inp = projections[target]
            base = f"base_model.model.{module_path(layer, target)}"
            shapes[f"{base}.lora_A.weight"] = (rank, inp)
            shapes[f"{base}.lora_B.weight"] = (out, rank)
    return shapes


def _read_bounded(path: Path, expected: dict[str, tuple[int, int]]) -> bytes:
    limit = HEADER_BYTES_MAX + 8 + 4 * sum(rows * columns for rows, columns in expected.values())
    try:
        size = path.stat().st_size
        if size > limit:
            raise InputError(
                [Problem(f"{size} bytes; an adapter of this rank holds at most {limit}", where=str(path))]
            )
        return path.read_bytes()
    except OSError as error:
        message = f"cannot read the adapter's weights (only safetensors are accepted): {error.strerror}"
        raise InputError([Problem(message, where=str(path))]) from error


def _check_header(data: bytes, expected: dict[str, tuple[int, int]], path: Path) -> None:
    """Compare the archive's header with the exact key set and shapes before any tensor is made."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(HEADER_BYTES_MAX, len(data) - 8):
        raise InputError(
            [
                Problem(
                    f"header of {length} bytes; allowed {HEADER_BYTES_MAX} and within the file",
                    where=str(path),
                )
            ]
        )
    try:
        header = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        found = {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise InputError([Problem(f"unreadable safetensors header: {error!r}", where=str(path))]) from error
    wrong = [f"tensor {name} is missing" for name in expected.keys() - found.keys()]
    wrong += [f"tensor {name} is not expected" for name in found.keys() - expected.keys()]
    for name in expected.keys() & found.keys():
        dtype, shape = found[name]
        if shape != expected[name] or dtype not in DTYPE_BYTES:
            wrong.append(
                f"tensor {name} is {dtype} {shape}, expected {expected[name]}, {' or '.join(DTYPE_BYTES)}"
            )
    if wrong:
        raise InputError([Problem(message, where=str(path)) for message in sorted(wrong)])


def _build(
    config: ModelConfig, rank: int, alpha: float, targets: tuple[str, ...], tensors: dict[str, Tensor]
) -> Adapter:
    effective = torch.tensor([rank, alpha], dtype=torch.float64)
    digest = tensors_sha256([*tensors.items(), ("effective.rank_alpha", effective)])
    a, b = {}, {}
    for layer in range(config.layers):
        for target in targets:
            base = f"base_model.model.{module_path(layer, target)}"
            a[layer, target] = tensors[f"{base}.lora_A.weight"]
            b[layer, target] = tensors[f"{base}.lora_B.weight"]
    return Adapter(sha256=digest, rank=rank, alpha=alpha, targets=targets, a=a, b=b)
