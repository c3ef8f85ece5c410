"""Shared oracles of the node tests: tiny transformers checkpoints on disk, and peft adapters for one of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

RANKS = (4, 8, 16)
SHAPE = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 256,
    "initializer_range": 0.1,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
# One checkpoint per switch of the families: what differs from a plain Llama is what is tested.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama3-tied": ("Llama", {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
    "mistral-window": ("Mistral", {"sliding_window": 11}),
    "mistral-full": ("Mistral", {"sliding_window": None, "head_dim": 32}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen2-window": ("Qwen2", {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 0}),
    "qwen3": ("Qwen3", {"head_dim": 32, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
}


@dataclass(frozen=True)
class Oracle:
    """A transformers model, its folder, and peft adapter folders of different ranks."""

    reference: Any
    folder: Path
    adapters: tuple[Path, ...]


@dataclass(frozen=True)
class Checkpoint:
    """A transformers model and the folder that it was saved to."""

    reference: Any
    folder: Path


def _node_extra() -> tuple[Any, Any]:
    torch = pytest.importorskip("torch", reason="needs the node extra (torch)")
    transformers = pytest.importorskip("transformers", reason="needs the node extra (transformers)")
    torch.set_num_threads(1)
    return torch, transformers


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    """Build the oracle once; skips where torch, transformers or peft are missing."""
    torch, transformers = _node_extra()
    pytest.importorskip("peft", reason="needs the node extra (peft)")
    from reference_node.adapters import make_with_peft

    torch.manual_seed(11)
    reference = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE)).eval()
    folder = tmp_path_factory.mktemp("oracle")
    reference.save_pretrained(folder / "base")
    paths = tuple(folder / f"adapter{i}" for i in range(len(RANKS)))
    for seed, (path, rank) in enumerate(zip(paths, RANKS, strict=True)):
        make_with_peft(
            transformers.LlamaForCausalLM.from_pretrained(folder / "base"),
            path,
            rank=rank,
            seed=seed,
            spread=0.2,
        )
    return Oracle(reference, folder / "base", paths)


@pytest.fixture(scope="session")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    """Build one tiny checkpoint per family and switch; biases and norms are drawn, so that none is trivial."""
    torch, transformers = _node_extra()
    made = {}
    for seed, (name, (family, extra)) in enumerate(FAMILIES.items()):
        torch.manual_seed(seed)
        config = getattr(transformers, f"{family}Config")(**SHAPE | extra)
        reference = getattr(transformers, f"{family}ForCausalLM")(config).eval()
        with torch.no_grad():
            for parameter_name, parameter in reference.named_parameters():
                if parameter_name.endswith("bias"):
                    parameter.normal_(0.0, 0.3)
                elif "norm" in parameter_name:
                    parameter.uniform_(0.5, 1.5)
        folder = tmp_path_factory.mktemp("families") / name
        reference.save_pretrained(folder)
        made[name] = Checkpoint(reference, folder)
    return made
