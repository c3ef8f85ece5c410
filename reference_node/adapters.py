"""LoRA adapters in peft's format: how an accepted one is read, written and named.

An adapter is one `adapter_model.safetensors` and one `adapter_config.json`, judged by `adapter_checks` before any
tensor is allocated. Pickle files are never opened. The name of an adapter is the SHA-256 of its canonical tensors and
its effective configuration, not of the archive, so that repacking changes nothing and two identical uploads are one
adapter.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from models.errors import InputError, Problem
from reference_node.adapter_checks import (
    CONFIG_BYTES_MAX,
    RANK_MAX,
    TARGETS,
    AdapterSettings,
    TensorSpan,
    check_header,
    check_settings,
    expected_shapes,
    refuse,
    tensor_names,
    weights_bytes_max,
)
from reference_node.config import ModelConfig
from reference_node.weights import tensors_sha256

WEIGHTS_FILE, CONFIG_FILE = "adapter_model.safetensors", "adapter_config.json"
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
VALUE_MAX = (
    65_504.0  # the largest float16: beyond it a weight is infinite in one of the node's number formats
)


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


def parse_adapter(
    weights: bytes, config_json: bytes, config: ModelConfig, *, rank_max: int = RANK_MAX, where: str = ""
) -> Adapter:
    """Validate an adapter's two files as bytes, for a base model of the given shape.

    Parameters
    ----------
    weights, config_json
        Content of `adapter_model.safetensors` and `adapter_config.json`.
    config
        Shape of the base model.
    rank_max
        Largest rank accepted.
    where
        Folder that errors name, "" for an upload.

    Raises
    ------
    InputError
        With every reason for which the adapter is refused.
    """
    settings = check_settings(config_json, str(Path(where, CONFIG_FILE)), rank_max)
    expected = expected_shapes(config, settings.rank, settings.targets)
    path = str(Path(where, WEIGHTS_FILE))
    tensors = _tensors(weights, check_header(weights, expected, path))
    broken = [name for name, tensor in tensors.items() if not _is_servable(tensor)]
    refuse(
        [f"tensor {name} holds NaN, infinity or a value beyond {VALUE_MAX:g}" for name in sorted(broken)],
        path,
    )
    return _build(config, settings, tensors)


def read_adapter(folder: Path, config: ModelConfig, *, rank_max: int = RANK_MAX) -> Adapter:
    """Read and validate an adapter folder for a base model of the given shape.

    No file but the two of the format is opened, whatever else lies in the folder.

    Raises
    ------
    InputError
        With every reason for which the adapter is refused.
    """
    return parse_adapter(
        *read_files(folder, config, rank_max=rank_max), config, rank_max=rank_max, where=str(folder)
    )


def read_files(folder: Path, config: ModelConfig, *, rank_max: int = RANK_MAX) -> tuple[bytes, bytes]:
    """Return the bytes of the weights and of the configuration, reading no more than an adapter may hold.

    Raises
    ------
    InputError
        When a file is missing or too long, or the configuration is refused.
    """
    raw = read_bounded(folder / CONFIG_FILE, CONFIG_BYTES_MAX, "the adapter's configuration")
    settings = check_settings(raw, str(folder / CONFIG_FILE), rank_max)
    limit = weights_bytes_max(expected_shapes(config, settings.rank, settings.targets))
    kind = "the adapter's weights (only safetensors are accepted)"
    return read_bounded(folder / WEIGHTS_FILE, limit, kind), raw


def read_bounded(path: Path, limit: int, kind: str) -> bytes:
    """Return a regular file's content, refusing more bytes than the limit before they are read.

    Raises
    ------
    InputError
        When the file cannot be read or is too long; `kind` says in the message what it should be.
    """
    try:
        if not path.is_file():  # a pipe would keep its reader waiting
            raise InputError([Problem(f"cannot read {kind}: no such file", where=str(path))])
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise InputError([Problem(f"cannot read {kind}: {error.strerror}", where=str(path))]) from error
    if len(data) > limit:
        size = path.stat().st_size
        raise InputError([Problem(f"{size} bytes; {kind} hold at most {limit}", where=str(path))])
    return data


def pack_adapter(adapter: Adapter) -> tuple[bytes, bytes]:
    """Return the weights and configuration files of an adapter; the same content always gives the same bytes."""
    tensors = {}
    for (layer, projection), a in adapter.a.items():
        name_a, name_b = tensor_names(layer, projection)
        tensors[name_a] = a.contiguous()
        tensors[name_b] = adapter.b[layer, projection].contiguous()
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "bias": "none",
        "inference_mode": True,
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "target_modules": list(adapter.targets),
    }
    return save(tensors, metadata={"format": "pt"}), (json.dumps(settings, indent=2) + "\n").encode()


def save_adapter(adapter: Adapter, folder: Path) -> None:
    """Write an adapter in peft's format."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, config_json = pack_adapter(adapter)
    (folder / WEIGHTS_FILE).write_bytes(weights)
    (folder / CONFIG_FILE).write_bytes(config_json)


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
    for name, shape in expected_shapes(config, rank, targets).items():
        spread = gain * (0.02 if name.endswith("lora_B.weight") else 1.0 / math.sqrt(shape[1]))
        tensors[name] = (torch.randn(shape, generator=generator) * spread).to(dtype)
    settings = AdapterSettings(rank, float(2 * rank if alpha is None else alpha), targets)
    return _build(config, settings, tensors)


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


def _tensors(data: bytes, spans: Mapping[str, TensorSpan]) -> dict[str, Tensor]:
    """Return each tensor in memory of its own: freeing one layer's must not wait for the whole archive."""
    start = 8 + int.from_bytes(data[:8], "little")
    view = memoryview(data)
    return {
        name: torch.frombuffer(bytearray(view[start + span.begin : start + span.end]), dtype=DTYPES[span.dtype])
        .reshape(span.shape)
        for name, span in spans.items()
    }  # fmt: skip


def _is_servable(tensor: Tensor) -> bool:
    """Return whether every value is finite and within `VALUE_MAX`; NaN fails both comparisons."""
    low, high = torch.aminmax(tensor)
    return float(low) >= -VALUE_MAX and float(high) <= VALUE_MAX


def _build(config: ModelConfig, settings: AdapterSettings, tensors: Mapping[str, Tensor]) -> Adapter:
    effective = torch.tensor([settings.rank, settings.alpha], dtype=torch.float64)
    digest = tensors_sha256([*tensors.items(), ("effective.rank_alpha", effective)])
    a, b = {}, {}
    for layer in range(config.layers):
        for target in settings.targets:
            name_a, name_b = tensor_names(layer, target)
            a[layer, target], b[layer, target] = tensors[name_a], tensors[name_b]
    return Adapter(digest, settings.rank, settings.alpha, settings.targets, a, b)
