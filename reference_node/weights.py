"""Base weights on disk: transformers folders in and out, and the hashes that name a base model.

A folder holds `config.json` and one `model.safetensors` or a sharded set with its index; no other format is opened.
Names, shapes and dtypes are compared with what the configuration asks for before a tensor is read. Tensors are read
one at a time into fused weights that already lie on the device, so that loading needs the model once and no more.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from models.errors import InputError, Problem
from reference_node.config import GROUPS, Layer, ModelConfig
from reference_node.config_file import read_config, transformers_config
from reference_node.model import Llama

WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
DTYPES = ("F32", "F16", "BF16")
SHARD_BYTES = 4 << 30
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# Written by old releases of transformers, computed from the configuration since.
IGNORED = re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")


class TensorDigest:
    """Hash of named tensors, fed in the order of their names: dtype, shape and little-endian bytes of each."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def update(self, name: str, tensor: Tensor) -> None:
        """Take in one tensor."""
        self._digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        self._digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())

    def hexdigest(self) -> str:
        """Return the hash so far."""
        return self._digest.hexdigest()


def tensors_sha256(named: Iterable[tuple[str, Tensor]]) -> str:
    """Return the hash of named tensors in any order."""
    digest = TensorDigest()
    for name, tensor in sorted(named, key=lambda pair: pair[0]):
        digest.update(name, tensor)
    return digest.hexdigest()


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


def base_sha256(tensors_sha256: str, tokenizer_sha256: str | None) -> str:
    """Return the name of a base model: the same weights behind another tokenizer are another model.

    Parameters
    ----------
    tensors_sha256
        From `load_model` or `recipe_sha256`.
    tokenizer_sha256
        None where requests are token ids.
    """
    pair = {"tensors": tensors_sha256, "tokenizer": tokenizer_sha256}
    return hashlib.sha256(json.dumps(pair, sort_keys=True).encode()).hexdigest()


def resolve_checkpoint(name_or_folder: str | Path) -> Path:
    """Return a checkpoint's folder: the one given, or a download of `organisation/name` from the model hub.

    Raises
    ------
    InputError
        When there is no such folder and no hub that has it.
    """
    folder = Path(name_or_folder)
    if folder.is_dir():
        return folder
    name = str(name_or_folder)
    if not HUB_NAME.fullmatch(name):
        raise InputError(f"{name}: no such folder, and not a hub name like organisation/name")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise InputError(f"{name}: no such folder; hub names need huggingface_hub installed") from error
    try:
        # Other folders inside a repository hold other formats of the same weights.
        patterns = {
            "allow_patterns": ["*.json", "*.safetensors"],
            "ignore_patterns": ["*/*", "consolidated*"],
        }
        return Path(snapshot_download(name, **patterns))
    except Exception as error:  # hub clients raise their own, the transport's and the system's errors
        reason = (str(error).splitlines() or [""])[0]
        message = (
            f"{name}: no such folder, and no model hub could provide it: {reason or type(error).__name__}"
        )
        raise InputError(f"{message}; download it elsewhere and give its folder") from error


def module_path(layer: int, projection: str) -> str:
    """Return the transformers module name of a projection, e.g. `model.layers.0.self_attn.q_proj`."""
    block = "self_attn" if projection in ("q_proj", "k_proj", "v_proj", "o_proj") else "mlp"
    return f"model.layers.{layer}.{block}.{projection}"


def load_model(
    folder: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32, max_length: int = 2048
) -> tuple[Llama, str]:
    """Load a transformers folder and return the decoder and the hash of its tensors and configuration.

    Raises
    ------
    InputError
        When files are missing, or a tensor is missing, extra, or of another shape or dtype.
    """
    config = read_config(folder)
    with ExitStack() as stack:
        sources = _open_all(folder, stack)
        _check_header(config, sources, expected_shapes(config), folder)
        blank = _blank(config, torch.device(device), dtype)
        targets, digest = named_tensors(blank), TensorDigest()
        for name in sorted(targets):
            tensor = sources[name].get_tensor(name)
            digest.update(name, tensor)
            targets[name].copy_(tensor)
        if config.tied and "lm_head.weight" in sources:
            _check_tied(sources["lm_head.weight"].get_tensor("lm_head.weight"), blank.embed, folder)
    settings = json.dumps(asdict(config), sort_keys=True).encode()
    digest.update("effective.config", torch.frombuffer(bytearray(settings), dtype=torch.uint8))
    model = Llama(config, blank.embed, blank.layers, blank.norm, blank.head, max_length=max_length)
    return model, digest.hexdigest()


def save_model(model: Llama, folder: Path, *, shard_bytes: int = SHARD_BYTES) -> None:
    """Write a decoder as a transformers folder, so that peers run the same weights.

    Parameters
    ----------
    shard_bytes
        Larger models are written as several files with an index.

    Raises
    ------
    InputError
        When the family's format cannot say what this decoder computes.
    """
    _check_writable(model.config)
    named = named_tensors(model)
    shards: list[list[str]] = [[]]
    size = 0
    for name, tensor in named.items():
        size += tensor.numel() * tensor.element_size()
        if size > shard_bytes and shards[-1]:
            shards.append([])
            size = tensor.numel() * tensor.element_size()
        shards[-1].append(name)
    folder.mkdir(parents=True, exist_ok=True)
    files = [f"model-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
    for file, names in zip(files if len(shards) > 1 else [WEIGHTS_FILE], shards, strict=True):
        copies = {name: named[name].clone(memory_format=torch.contiguous_format) for name in names}
        save_file(copies, folder / file, metadata={"format": "pt"})
    if len(shards) > 1:
        where = {name: file for file, names in zip(files, shards, strict=True) for name in names}
        total = sum(tensor.numel() * tensor.element_size() for tensor in named.values())
        _write_json(folder / INDEX_FILE, {"metadata": {"total_size": total}, "weight_map": where})
    dtype = str(model.dtype).removeprefix("torch.")
    _write_json(folder / "config.json", transformers_config(model.config, model.cos.shape[0], dtype))


def named_tensors(model: Llama | _Blank) -> dict[str, Tensor]:
    """Return views into a decoder's weights under the names of a transformers checkpoint."""
    named = {"model.embed_tokens.weight": model.embed, "model.norm.weight": model.norm}
    if not model.config.tied:
        named["lm_head.weight"] = model.head
    shapes = model.config.projections()
    for i, layer in enumerate(model.layers):
        for group, names in GROUPS.items():
            sizes = [shapes[name][0] for name in names]
            pieces = getattr(layer, group).split(sizes)
            named |= {f"{module_path(i, name)}.weight": p for name, p in zip(names, pieces, strict=True)}
            if group == "qkv" and layer.bias_qkv is not None:
                biases = layer.bias_qkv.split(sizes)
                named |= {f"{module_path(i, name)}.bias": p for name, p in zip(names, biases, strict=True)}
        norms = {
            "input_layernorm": layer.norm_attention,
            "post_attention_layernorm": layer.norm_mlp,
            "self_attn.q_norm": layer.norm_q,
            "self_attn.k_norm": layer.norm_k,
        }
        named |= {f"model.layers.{i}.{name}.weight": norm for name, norm in norms.items() if norm is not None}
    return named


def expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the exact tensor names and shapes of a transformers checkpoint of this shape."""
    blank = _blank(config, torch.device("meta"), torch.float32)
    return {name: tuple(tensor.shape) for name, tensor in named_tensors(blank).items()}


@dataclass(frozen=True, slots=True)
class _Blank:
    """Weights of a decoder before they are read."""

    config: ModelConfig
    embed: Tensor
    layers: list[Layer]
    norm: Tensor
    head: Tensor


def _blank(config: ModelConfig, device: torch.device, dtype: torch.dtype) -> _Blank:
    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, device=device, dtype=dtype)

    def matrix(out: int, inp: int) -> Tensor:
        # On a CPU the decoder keeps matrices column by column; anything else it would copy.
        return empty(inp, out).t() if device.type == "cpu" else empty(out, inp)

    shapes, hidden, head = config.projections(), config.hidden_size, config.head_dim
    qkv = sum(shapes[name][0] for name in GROUPS["qkv"])
    layers = [
        Layer(
            **{
                g: matrix(sum(shapes[n][0] for n in names), shapes[names[0]][1])
                for g, names in GROUPS.items()
            },
            norm_attention=empty(hidden),
            norm_mlp=empty(hidden),
            bias_qkv=empty(qkv) if config.qkv_bias else None,
            norm_q=empty(head) if config.qk_norm else None,
            norm_k=empty(head) if config.qk_norm else None,
        )
        for _ in range(config.layers)
    ]
    embed = empty(config.vocab_size, hidden)
    lm_head = embed if config.tied else matrix(config.vocab_size, hidden)
    return _Blank(config, embed, layers, empty(hidden), lm_head)


def _open_all(folder: Path, stack: ExitStack) -> dict[str, Any]:
    """Open every weights file and return the archive that holds each tensor."""
    index = folder / INDEX_FILE
    files = [WEIGHTS_FILE]
    if index.exists():
        try:
            files = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            strays = [file for file in files if Path(file).name != file]
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise InputError([Problem(f"cannot read the index: {error!r}", where=str(index))]) from error
        if strays:
            raise InputError(
                [Problem(f"{f!r} is not a file of this folder", where=str(index)) for f in strays]
            )
    sources: dict[str, Any] = {}
    for file in files:
        path = folder / file
        if not path.is_file():
            raise InputError([Problem("weights file is missing; only safetensors are read", where=str(path))])
        try:
            archive = stack.enter_context(safe_open(path, framework="pt"))
        except (SafetensorError, OSError) as error:
            raise InputError(
                [Problem(f"not a valid safetensors archive: {error}", where=str(path))]
            ) from error
        names = list(archive.keys())
        twice = [Problem(f"tensor {n} is in two files", where=str(path)) for n in names if n in sources]
        if twice:
            raise InputError(twice)
        sources |= dict.fromkeys(names, archive)
    return sources


def _check_header(
    config: ModelConfig, sources: dict[str, Any], expected: dict[str, tuple[int, ...]], folder: Path
) -> None:
    optional = {"lm_head.weight"} if config.tied else set()
    wrong = [f"tensor {name} is missing" for name in expected if name not in sources]
    for name, archive in sources.items():
        if IGNORED.fullmatch(name) or (name in optional and name not in expected):
            continue
        if name not in expected:
            wrong.append(f"tensor {name} is not part of this architecture")
            continue
        entry = archive.get_slice(name)
        shape, dtype = tuple(entry.get_shape()), entry.get_dtype()
        if shape != expected[name]:
            wrong.append(f"tensor {name} has shape {shape}, expected {expected[name]}")
        if dtype not in DTYPES:
            wrong.append(f"tensor {name} is {dtype}; allowed {', '.join(DTYPES)}")
    if wrong:
        raise InputError([Problem(message, where=str(folder)) for message in wrong])


def _check_tied(head: Tensor, embed: Tensor, folder: Path) -> None:
    if head.shape != embed.shape or not torch.equal(head.to(embed.device, embed.dtype), embed):
        message = "tensor lm_head.weight differs from the embeddings, yet tie_word_embeddings is true"
        raise InputError([Problem(message, where=str(folder))])


def _check_writable(config: ModelConfig) -> None:
    facts = {
        "qkv_bias": (config.qkv_bias, config.family == "qwen2"),
        "qk_norm": (config.qk_norm, config.family == "qwen3"),
        "sliding_window": (
            config.sliding_window is not None,
            config.family != "llama" and config.sliding_window is not None,
        ),
    }
    wrong = [
        f"model.{name}: a {config.family} checkpoint {'always' if wanted else 'never'} has it"
        for name, (held, wanted) in facts.items()
        if held != wanted
    ]
    if wrong:
        raise InputError(wrong)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
