"""The decoder computes what transformers' LlamaForCausalLM computes, from the same files."""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")

from models.errors import InputError
from reference_node.config import ModelConfig
from reference_node.model import KVCache, random_model
from reference_node.weights import load_model, read_config

pytestmark = [pytest.mark.node, pytest.mark.filterwarnings("ignore::FutureWarning")]

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


def test_prefill_logits_equal_transformers(oracle):
    model, _ = load_model(oracle.folder, max_length=256)
    tokens = torch.randint(0, 512, (3, 70), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = oracle.reference(tokens).logits
    found = model.prefill_all_logits(tokens, KVCache(model.config, 3, 80, model.embed))
    assert torch.allclose(found, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))


def test_decode_of_rows_at_different_positions_equals_transformers(oracle):
    model, _ = load_model(oracle.folder, max_length=256)
    cache = KVCache(model.config, 3, 80, model.embed)
    lengths = (5, 33, 70)
    tokens = [torch.randint(0, 512, (1, n), generator=torch.Generator().manual_seed(n)) for n in lengths]
    for row, prompt in enumerate(tokens):
        model.prefill(prompt[:, :-1], cache, row)
    newest = torch.cat([prompt[:, -1] for prompt in tokens])
    found = model.decode(newest, torch.tensor(lengths) - 1, cache, max(lengths))
    for row, prompt in enumerate(tokens):
        with torch.no_grad():
            expected = oracle.reference(prompt).logits[0, -1]
        assert torch.allclose(found[row], expected, rtol=0, atol=2e-5 * float(expected.abs().max()))


def test_llama3_rotary_scaling_and_tied_head_equal_transformers(tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs the node extra (transformers)")
    torch.manual_seed(3)
    config = transformers.LlamaConfig(
        vocab_size=128, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=1, max_position_embeddings=256, tie_word_embeddings=True, rope_parameters=LLAMA3,
    )  # fmt: skip
    reference = transformers.LlamaForCausalLM(config).eval()
    reference.save_pretrained(tmp_path)
    model, _ = load_model(tmp_path, max_length=256)
    tokens = torch.randint(0, 128, (2, 120), generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        expected = reference(tokens).logits
    found = model.prefill_all_logits(tokens, KVCache(model.config, 2, 120, model.embed))
    assert torch.allclose(found, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))


def test_random_model_is_seeded_and_counts_its_parameters():
    small = ModelConfig(
        vocab_size=64, hidden_size=32, layers=2, heads=2, kv_heads=1, head_dim=16, intermediate_size=48
    )
    one, two, other = (random_model(small, seed, max_length=16) for seed in (5, 5, 6))
    assert torch.equal(one.layers[1].down, two.layers[1].down)
    assert not torch.equal(one.head, other.head)
    held = [one.embed, one.norm, one.head] + [
        part for layer in one.layers for name in layer.__slots__ if (part := getattr(layer, name)) is not None
    ]
    assert sum(t.numel() for t in held) == small.parameters()
    assert ModelConfig().parameters() == 5_048_576


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "qwen2"}, "model_type: 'qwen2' is not supported"),
        ({"attention_bias": True}, "attention_bias: True is not supported"),
        (
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}},
            "rotary scaling 'yarn' is not supported",
        ),
        ({"num_key_value_heads": 3}, "kv_heads: 3 does not divide heads = 4"),
        ({"vocab_size": 511}, r"tensor lm_head.weight has shape \(512, 64\), expected \(511, 64\)"),
    ],
)
def test_models_that_would_be_computed_wrongly_are_refused(oracle, tmp_path: Path, change, message):
    raw = json.loads((oracle.folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(raw | change))
    (tmp_path / "model.safetensors").symlink_to(oracle.folder / "model.safetensors")
    with pytest.raises(InputError, match=message):
        load_model(tmp_path)


def test_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"config\.json: cannot read"):
        read_config(tmp_path / "nowhere")
