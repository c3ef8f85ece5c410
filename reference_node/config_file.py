"""The `config.json` of transformers: which models the node takes, and how it writes its own.

A setting that would change what the model computes is either understood or refused by name; nothing that matters is
left to a default that differs between families. Both styles are read: `rope_parameters` of transformers 5 and the
older `rope_theta` with `rope_scaling`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.errors import InputError, Problem
from reference_node.config import FAMILIES, ModelConfig

ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
LLAMA3_KEYS = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
# Off by default in transformers, and not computed here.
MUST_BE_OFF = (
    "attention_bias",
    "mlp_bias",
    "quantization_config",
    "auto_map",
    "logits_soft_cap",
    "attn_logit_softcapping",
    "final_logit_softcapping",
)
FULL, SLIDING = "full_attention", "sliding_attention"


def read_config(folder: Path) -> ModelConfig:
    """Read the `config.json` of a Llama, Mistral, Qwen2 or Qwen3 checkpoint.

    Raises
    ------
    InputError
        With everything that is missing or that this node would compute differently.
    """
    path = folder / "config.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        message = f"cannot read the model's configuration: {error}"
        raise InputError([Problem(message, where=str(path))]) from error
    if not isinstance(raw, dict):
        raise InputError([Problem("the model's configuration is not a mapping", where=str(path))])
    reader = _Reader(raw, str(path))
    config = reader.read()
    if reader.wrong or config is None:
        raise InputError(reader.wrong)
    return config


class _Reader:
    """One reading of a configuration; `wrong` collects what is refused."""

    def __init__(self, raw: dict[str, Any], where: str) -> None:
        self.raw, self.where, self.wrong = raw, where, list[Problem]()

    def read(self) -> ModelConfig | None:
        family = self.raw.get("model_type")
        if family not in FAMILIES:
            self.refuse("model_type", family, f"allowed {', '.join(FAMILIES)}")
            return None
        self._check_switches(family)
        theta, scaling = self._rope()
        heads, hidden = self.count("num_attention_heads"), self.count("hidden_size")
        layers = self.count("num_hidden_layers")
        numbers = {
            "vocab_size": self.count("vocab_size"),
            "hidden_size": hidden,
            "layers": layers,
            "heads": heads,
            "kv_heads": self._kv_heads(family, heads),
            "head_dim": self._head_dim(family, hidden, heads),
            "intermediate_size": self.count("intermediate_size"),
        }
        eps = self.number("rms_norm_eps", self.raw.get("rms_norm_eps"))
        window = self._window(family, layers)
        if self.wrong:
            return None
        try:
            return ModelConfig(
                family=family,
                **numbers,
                rms_eps=eps,
                rope_theta=theta,
                rope_scaling=scaling,
                tied=bool(self.raw.get("tie_word_embeddings", False)),
                qkv_bias=family == "qwen2",
                qk_norm=family == "qwen3",
                sliding_window=window,
            )
        except InputError as error:
            self.wrong += [Problem(problem.message, where=self.where) for problem in error.problems]
            return None

    def refuse(self, key: str, value: object, allowed: str) -> None:
        """Note a setting that is not supported."""
        self.wrong.append(Problem(f"{value!r} is not supported; {allowed}", path=key, where=self.where))

    def count(self, key: str) -> int:
        """Return a whole number above 0 that must be there."""
        value = self.raw.get(key)
        if type(value) is not int or value < 1:
            message = f"{value!r} is not a whole number above 0" if key in self.raw else "key is missing"
            self.wrong.append(Problem(message, path=key, where=self.where))
            return 1
        return value

    def number(self, key: str, value: object) -> float:
        """Return a number that must be there."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            message = "key is missing" if value is None else f"{value!r} is not a number"
            self.wrong.append(Problem(message, path=key, where=self.where))
            return 1.0
        return float(value)

    def _check_switches(self, family: str) -> None:
        raw = self.raw
        for key in MUST_BE_OFF:
            if raw.get(key):
                self.refuse(key, raw[key], "it must be off")
        if raw.get("hidden_act", "silu") != "silu":
            self.refuse("hidden_act", raw["hidden_act"], "allowed 'silu'")
        architectures = raw.get("architectures") or [ARCHITECTURES[family]]
        if architectures != [ARCHITECTURES[family]]:
            self.refuse("architectures", architectures, f"allowed {[ARCHITECTURES[family]]}")

    def _kv_heads(self, family: str, heads: int) -> int:
        if family != "llama" and "num_key_value_heads" not in self.raw:
            return self.count("num_key_value_heads")  # families differ in the default, so it must be said
        return heads if self.raw.get("num_key_value_heads") is None else self.count("num_key_value_heads")

    def _head_dim(self, family: str, hidden: int, heads: int) -> int:
        if self.raw.get("head_dim") is not None:
            return self.count("head_dim")
        if family == "qwen3":
            return 128  # the default of Qwen3Config; the other families divide
        if hidden % heads:
            self.wrong.append(
                Problem(f"{hidden} is not a multiple of {heads} heads", path="hidden_size", where=self.where)
            )
        return max(hidden // heads, 1)

    def _rope(self) -> tuple[float, tuple[float, float, float, float] | None]:
        new, old = self.raw.get("rope_parameters") or {}, self.raw.get("rope_scaling") or {}
        if not isinstance(new, dict) or not isinstance(old, dict):
            self.refuse("rope_parameters", new or old, "allowed a mapping or null")
            return 1.0, None
        if new and old:
            self.refuse("rope_scaling", old, "allowed null beside rope_parameters")
        rope = {"rope_theta": self.raw.get("rope_theta", 10_000.0), **(new or old)}
        kind = rope.get("rope_type", rope.get("type", "default"))
        partial = rope.get("partial_rotary_factor", self.raw.get("partial_rotary_factor"))
        if partial not in (None, 1, 1.0):
            self.refuse("partial_rotary_factor", partial, "allowed 1.0")
        theta = self.number("rope_theta", rope["rope_theta"])
        if kind == "llama3":
            factor, low, high, original = (self.number(f"rope.{key}", rope.get(key)) for key in LLAMA3_KEYS)
            return theta, (factor, low, high, original)
        if kind != "default":
            message = f"rotary scaling {kind!r} is not supported; allowed 'default', 'llama3'"
            self.wrong.append(Problem(message, where=self.where))
        return theta, None

    def _window(self, family: str, layers: int) -> int | None:
        """Return the one window of all layers; layers that differ are refused."""
        raw = self.raw
        if family == "llama":
            if raw.get("sliding_window") is not None:
                self.refuse("sliding_window", raw["sliding_window"], "a Llama has none")
            window, types = None, raw.get("layer_types") or [FULL] * layers
        elif family == "mistral":
            window = raw.get("sliding_window", 4096)
            types = raw.get("layer_types") or [FULL if window is None else SLIDING] * layers
        else:
            window = raw.get("sliding_window", 4096) if raw.get("use_sliding_window", False) else None
            first = self.raw.get("max_window_layers", 28)
            types = raw.get("layer_types") or [
                SLIDING if window is not None and layer >= first else FULL for layer in range(layers)
            ]
        if types == [FULL] * layers and family != "mistral":
            return None
        if types != [FULL if window is None else SLIDING] * layers:
            self.refuse("layer_types", types, f"allowed {layers} layers of one kind, with its sliding_window")
        return window


def transformers_config(config: ModelConfig, max_length: int, dtype: str) -> dict[str, Any]:
    """Return the `config.json` of a decoder in the style of transformers 5."""
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": config.rope_theta}
    if config.rope_scaling is not None:
        rope |= {"rope_type": "llama3", **dict(zip(LLAMA3_KEYS, config.rope_scaling, strict=True))}
    raw: dict[str, Any] = {
        "architectures": [ARCHITECTURES[config.family]],
        "model_type": config.family,
        "dtype": dtype,
        "hidden_act": "silu",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.intermediate_size,
        "rms_norm_eps": config.rms_eps,
        "max_position_embeddings": max_length,
        "tie_word_embeddings": config.tied,
        "rope_parameters": rope,
    }
    window = config.sliding_window
    if config.family == "mistral":
        raw["sliding_window"] = window
    if config.family in ("qwen2", "qwen3"):
        raw |= {"use_sliding_window": window is not None, "sliding_window": window}
        raw["max_window_layers"] = config.layers if window is None else 0
    return raw
