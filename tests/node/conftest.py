"""Shared oracle of the node tests: one tiny transformers Llama on disk, and peft adapters for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

RANKS = (4, 8, 16)


@dataclass(frozen=True)
class Oracle:
    """A transformers model, its folder, and peft adapter folders of different ranks."""

    reference: Any
    folder: Path
    adapters: tuple[Path, ...]


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    """Build the oracle once; skips where torch, transformers or peft are missing."""
    torch = pytest.importorskip("torch", reason="needs the node extra (torch)")
    transformers = pytest.importorskip("transformers", reason="needs the node extra (transformers)")
    pytest.importorskip("peft", reason="needs the node extra (peft)")
    from reference_node.adapters import make_with_peft

    torch.set_num_threads(1)
    torch.manual_seed(11)
    config = transformers.LlamaConfig(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        rms_norm_eps=1e-5,
        max_position_embeddings=256,
        initializer_range=0.1,
    )
    reference = transformers.LlamaForCausalLM(config).eval()
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
