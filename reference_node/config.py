"""Shape of a decoder: which families the node serves, and what differs between them.

Llama, Mistral and Qwen are one architecture (RMSNorm, rotary embeddings, grouped-query attention, SwiGLU) with
four switches: biases on q/k/v (Qwen2), normalised queries and keys (Qwen3), a sliding attention window (Mistral
v0.1), and stretched rotary frequencies (Llama 3.1). A checkpoint that needs anything else is refused by name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args

from torch import Tensor

from models.errors import InputError

Family = Literal["llama", "mistral", "qwen2", "qwen3"]
FAMILIES: tuple[Family, ...] = get_args(Family)
LLAMA3_RANGE = "factor 1 and above, 0 < low_freq_factor < high_freq_factor, original length 1 and above"

GROUPS = {
    "qkv": ("q_proj", "k_proj", "v_proj"),
    "o": ("o_proj",),
    "gate_up": ("gate_proj", "up_proj"),
    "down": ("down_proj",),
}


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Shape of a decoder; the default is the tiny model that CPU benches serve.

    Parameters
    ----------
    family
        `model_type` of the transformers checkpoint.
    rope_scaling
        None or the four `llama3` numbers: factor, low_freq_factor, high_freq_factor, original length.
    tied
        Whether the LM head is the embedding table.
    qkv_bias
        Whether q, k and v projections carry a bias.
    qk_norm
        Whether queries and keys are RMS-normalised per head before rotation.
    sliding_window
        Tokens that a position sees, itself included; None for all before it.
    """

    family: Family = "llama"

    vocab_size: int = 4096
    hidden_size: int = 256
    layers: int = 4
    heads: int = 8
    kv_heads: int = 4
    head_dim: int = 32
    intermediate_size: int = 704
    rms_eps: float = 1e-5
    rope_theta: float = 10_000.0
    rope_scaling: tuple[float, float, float, float] | None = None
    tied: bool = False
    qkv_bias: bool = False
    qk_norm: bool = False
    sliding_window: int | None = None

    def __post_init__(self) -> None:
        wrong = [
            f"model.{f.name}: {value!r} is not a whole number above 0"
            for f in fields(self)
            if f.type == "int" and (type(value := getattr(self, f.name)) is not int or value < 1)
        ]
        if self.family not in FAMILIES:
            wrong.append(f"model.family: {self.family!r} is not known; allowed {', '.join(FAMILIES)}")
        wrong += [
            f"model.{name}: {value!r} is out of range; allowed {allowed}"
            for name, value, fine, allowed in self._ranges()
            if not fine
        ]
        if not wrong and self.heads % self.kv_heads:
            wrong.append(f"model.kv_heads: {self.kv_heads} does not divide heads = {self.heads}")
        if not wrong and self.head_dim % 2:
            wrong.append(f"model.head_dim: {self.head_dim} is odd; rotary embeddings need an even size")
        if wrong:
            raise InputError(wrong)

    def _ranges(self) -> list[tuple[str, object, bool, str]]:
        """Return (name, value, whether it is in range, range) of the numbers that are no counts."""
        window, eps, theta, scaling = self.sliding_window, self.rms_eps, self.rope_theta, self.rope_scaling
        return [
            (
                "sliding_window",
                window,
                window is None or (type(window) is int and window >= 1),
                "1 token and above, or null",
            ),
            ("rms_eps", eps, 0 < eps < 1, "above 0 and below 1"),
            ("rope_theta", theta, 1 < theta < math.inf, "above 1"),
            ("rope_scaling", scaling, scaling is None or _is_llama3(*scaling), LLAMA3_RANGE),
        ]

    def projections(self) -> dict[str, tuple[int, int]]:
        """Return (out, in) of each of the seven linear projections of a layer."""
        hidden, inner, q, kv = (
            self.hidden_size,
            self.intermediate_size,
            self.heads * self.head_dim,
            self.kv_heads * self.head_dim,
        )
        return {
            "q_proj": (q, hidden),
            "k_proj": (kv, hidden),
            "v_proj": (kv, hidden),
            "o_proj": (hidden, q),
            "gate_proj": (inner, hidden),
            "up_proj": (inner, hidden),
            "down_proj": (hidden, inner),
        }

    def parameters(self) -> int:
        """Return the number of parameters, embedding table and norms included."""
        linear = sum(out * inp for out, inp in self.projections().values())
        tables = self.vocab_size * self.hidden_size * (1 if self.tied else 2)
        qkv = (self.heads + 2 * self.kv_heads) * self.head_dim
        extra = (qkv if self.qkv_bias else 0) + (2 * self.head_dim if self.qk_norm else 0)
        return self.layers * (linear + extra + 2 * self.hidden_size) + self.hidden_size + tables

    def streamed_parameters(self) -> int:
        """Return the parameters read by every decode step: all but the embedding table, LM head included."""
        return self.parameters() - (0 if self.tied else self.vocab_size * self.hidden_size)


def _is_llama3(factor: float, low: float, high: float, original: float) -> bool:
    return 1 <= factor < math.inf and 0 < low < high < math.inf and 1 <= original < math.inf


LLAMA_8B = ModelConfig(
    vocab_size=128_256,
    hidden_size=4096,
    layers=32,
    heads=32,
    kv_heads=8,
    head_dim=128,
    intermediate_size=14_336,
    rope_theta=500_000.0,
    rope_scaling=(8.0, 1.0, 4.0, 8192.0),
)
PRESETS = {"tiny": ModelConfig(), "8b": LLAMA_8B}


@dataclass(frozen=True, slots=True)
class Layer:
    """Weights of one decoder layer, each (out, in); the last three only where the shape asks for them."""

    qkv: Tensor
    o: Tensor
    gate_up: Tensor
    down: Tensor
    norm_attention: Tensor
    norm_mlp: Tensor
    bias_qkv: Tensor | None = None
    norm_q: Tensor | None = None
    norm_k: Tensor | None = None
