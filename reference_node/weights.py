"""Base weights from disk: which transformers folders the node accepts, and the hash that names a base model.

A folder holds `config.json` and one `model.safetensors` or a sharded set with its index. Only the Llama
family without biases is accepted; anything that would change the mathematics silently is refused by name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from models.errors import InputError, Problem
from reference_node.config import GROUPS, Layer, ModelConfig
from reference_node.model import Llama

LLAMA3_KEYS = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")


def recipe_sha256(config: ModelConfig, seed: int, device: str, dtype: torch.dtype) -> str:
    """Return the hash naming random weights: of their recipe, since 8B weights are costly to read back."""
    recipe = {
        "config": asdict(config),
        "seed": seed,
        "device": device,
        "dtype": str(dtype),
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def tensors_sha256(named: Iterable[tuple[str, Tensor]]) -> str:
    """Return the hash of named tensors: sorted by name; dtype, shape and little-endian bytes of each."""
    digest = hashlib.sha256()
    for name, tensor in sorted(named, key=lambda pair: pair[0]):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_config(folder: Path) -> ModelConfig:
    """Read a transformers `config.json` of the Llama family.

    Raises
    ------
    InputError
        When the file is missing, or names another architecture, biases, or a rotary scaling other than
        `llama3`.
    """
    path = folder / "config.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            [Problem(f"cannot read the model's configuration: {error}", where=str(path))]
        ) from error
    wrong = [
        Problem(f"{raw.get(key)!r} is not supported; allowed {allowed}", path=key, where=str(path))
        for key, allowed in (
            ("model_type", ["llama"]),
            ("attention_bias", [False, None]),
            ("mlp_bias", [False, None]),
            ("hidden_act", ["silu"]),
        )
        if raw.get(key) not in allowed
    ]
    rope = raw.get("rope_parameters") or {
        **(raw.get("rope_scaling") or {}),
        "rope_theta": raw.get("rope_theta", 10_000.0),
    }
    kind = rope.get("rope_type", "default")
    if kind not in ("default", "llama3"):
        wrong.append(
            Problem(f"rotary scaling {kind!r} is not supported; allowed 'default', 'llama3'", where=str(path))
        )
    if wrong:
        raise InputError(wrong)
    return _config_from(raw, rope, path)


def _config_from(raw: dict[str, Any], rope: dict[str, Any], path: Path) -> ModelConfig:
    try:
        heads, hidden = int(raw["num_attention_heads"]), int(raw["hidden_size"])
        return ModelConfig(
            vocab_size=int(raw["vocab_size"]),
            hidden_size=hidden,
            layers=int(raw["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(raw.get("num_key_value_heads") or heads),
            head_dim=int(raw.get("head_dim") or hidden // heads),
            intermediate_size=int(raw["intermediate_size"]),
            rms_eps=float(raw["rms_norm_eps"]),
            rope_theta=float(rope["rope_theta"]),
            rope_scaling=tuple(float(rope[k]) for k in LLAMA3_KEYS)
            if rope.get("rope_type") == "llama3"
            else None,  # type: ignore[arg-type]
            tied=bool(raw.get("tie_word_embeddings", False)),
        )
    except KeyError as error:
        raise InputError([Problem(f"key {error} is missing", where=str(path))]) from error


def load_model(
    folder: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32, max_length: int = 2048
) -> tuple[Llama, str]:
    """Load a transformers folder and return the decoder and the hash of its tensors.

    Raises
    ------
    InputError
        When files are missing, or a tensor is missing, extra or of another shape.
    """
    config = read_config(folder)
    index = folder / "model.safetensors.index.json"
    names = (
        sorted(set(json.loads(index.read_text())["weight_map"].values()))
        if index.exists()
        else ["model.safetensors"]
    )
    tensors: dict[str, Tensor] = {}
    for name in names:
        path = folder / name
        if not path.is_file():
            raise InputError([Problem("weights file is missing; only safetensors are read", where=str(path))])
        with safe_open(path, framework="pt") as archive:
            tensors |= {key: archive.get_tensor(key) for key in archive.keys()}  # noqa: SIM118 (safe_open is no dict)
    _check_keys(tensors, expected_shapes(config), folder)
    return _assemble(config, tensors, torch.device(device), dtype, max_length), tensors_sha256(
        tensors.items()
    )


def save_model(model: Llama, folder: Path) -> None:
    """Write a decoder as a transformers folder, so that peers run the same weights."""
    config = model.config
    tensors = {"model.embed_tokens.weight": model.embed, "model.norm.weight": model.norm}
    if not config.tied:
        tensors["lm_head.weight"] = model.head
    shapes = config.projections()
    for i, layer in enumerate(model.layers):
        for group, parts in GROUPS.items():
            pieces = getattr(layer, group).split([shapes[part][0] for part in parts])
            tensors |= {
                f"{module_path(i, part)}.weight": piece for part, piece in zip(parts, pieces, strict=True)
            }
        tensors[f"model.layers.{i}.input_layernorm.weight"] = layer.norm_attention
        tensors[f"model.layers.{i}.post_attention_layernorm.weight"] = layer.norm_mlp
    folder.mkdir(parents=True, exist_ok=True)
    copies = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    save_file(copies, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(
        json.dumps(_transformers_config(model), indent=2) + "\n", encoding="utf-8"
    )


def _transformers_config(model: Llama) -> dict[str, Any]:
    config, rope = model.config, {"rope_type": "default", "rope_theta": model.config.rope_theta}
    if config.rope_scaling is not None:
        rope |= {"rope_type": "llama3", **dict(zip(LLAMA3_KEYS, config.rope_scaling, strict=True))}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.intermediate_size,
        "rms_norm_eps": config.rms_eps,
        "max_position_embeddings": model.cos.shape[0],
        "tie_word_embeddings": config.tied,
        "rope_parameters": rope,
    }


def expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the exact tensor names and shapes that a transformers Llama checkpoint of this shape holds."""
    hidden = config.hidden_size
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config.vocab_size, hidden),
        "model.norm.weight": (hidden,),
    }
    if not config.tied:
        shapes["lm_head.weight"] = (config.vocab_size, hidden)
    for i in range(config.layers):
        shapes |= {f"{module_path(i, name)}.weight": shape for name, shape in config.projections().items()}
        shapes |= {
            f"model.layers.{i}.{norm}.weight": (hidden,)
            for norm in ("input_layernorm", "post_attention_layernorm")
        }
    return shapes


def module_path(layer: int, projection: str) -> str:
    """Return the transformers module name of a projection, e.g. `model.layers.0.self_attn.q_proj`."""
    block = "self_attn" if projection in ("q_proj", "k_proj", "v_proj", "o_proj") else "mlp"
    return f"model.layers.{layer}.{block}.{projection}"


def _check_keys(tensors: dict[str, Tensor], expected: dict[str, tuple[int, ...]], folder: Path) -> None:
    wrong = [f"tensor {k} is missing" for k in expected if k not in tensors]
    wrong += [f"tensor {k} is not part of this architecture" for k in tensors if k not in expected]
    wrong += [
        f"tensor {k} has shape {tuple(tensors[k].shape)}, expected {shape}"
        for k, shape in expected.items()
        if k in tensors and tuple(tensors[k].shape) != shape
    ]
    if wrong:
        raise InputError([Problem(message, where=str(folder)) for message in wrong])


def _assemble(
    config: ModelConfig, tensors: dict[str, Tensor], device: torch.device, dtype: torch.dtype, max_length: int
) -> Llama:
    def take(name: str) -> Tensor:
        return tensors[f"{name}.weight"].to(device=device, dtype=dtype)

    layers = [
        Layer(
            **{
                group: torch.cat([take(module_path(i, part)) for part in parts])
                for group, parts in GROUPS.items()
            },
            norm_attention=take(f"model.layers.{i}.input_layernorm"),
            norm_mlp=take(f"model.layers.{i}.post_attention_layernorm"),
        )
        for i in range(config.layers)
    ]
    embed = take("model.embed_tokens")
    head = embed if config.tied else take("lm_head")
    return Llama(config, embed, layers, take("model.norm"), head, max_length=max_length)
