"""Checkpoints in and out: four families equal transformers, and what would be computed wrongly is refused."""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")

from safetensors.torch import load_file, save_file

from models.errors import InputError
from reference_node import weights
from reference_node.config import ModelConfig
from reference_node.model import random_model
from reference_node.weights import (
    base_sha256,
    expected_shapes,
    load_model,
    read_config,
    resolve_checkpoint,
    save_model,
    tensors_sha256,
)
from tests.node.conftest import FAMILIES, LLAMA3

pytestmark = [pytest.mark.node, pytest.mark.filterwarnings("ignore::FutureWarning")]

TINY = {"vocab_size": 64, "hidden_size": 32, "layers": 2, "heads": 2, "kv_heads": 1, "head_dim": 16}
SHAPES = {
    "llama": {},
    "mistral": {"sliding_window": 5},
    "qwen2": {"qkv_bias": True, "tied": True},
    "qwen3": {"qk_norm": True, "rope_theta": 1e6},
}


def tiny(family: str) -> ModelConfig:
    return ModelConfig(family=family, **TINY, intermediate_size=48, **SHAPES[family])


@pytest.mark.parametrize("name", list(FAMILIES))
def test_logits_of_every_family_equal_transformers(families, name):
    checkpoint = families[name]
    model, _ = load_model(checkpoint.folder, max_length=64)
    tokens = torch.randint(0, 512, (40,), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = checkpoint.reference(tokens[None]).logits[0]
    found = model.all_logits(tokens[None])[0]
    assert torch.allclose(found, expected, rtol=0, atol=3e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["mistral-window", "qwen2-window"])
def test_a_window_changes_the_logits_so_that_the_comparison_means_something(families, tmp_path, name):
    raw = json.loads((families[name].folder / "config.json").read_text())
    shutil.copytree(families[name].folder, tmp_path / "wide")
    raw |= {"sliding_window": 64}
    (tmp_path / "wide" / "config.json").write_text(json.dumps(raw))
    tokens = torch.arange(40)[None]
    narrow, wide = (load_model(f, max_length=64)[0] for f in (families[name].folder, tmp_path / "wide"))
    assert not torch.allclose(narrow.all_logits(tokens), wide.all_logits(tokens), atol=1e-2)


@pytest.mark.parametrize("family", list(SHAPES))
@pytest.mark.parametrize("shard_bytes", [1 << 30, 20_000])
def test_a_written_model_is_read_the_same_by_us_and_by_transformers(tmp_path, family, shard_bytes):
    transformers = pytest.importorskip("transformers", reason="needs the node extra (transformers)")
    model = random_model(tiny(family), 3, max_length=32)
    save_model(model, tmp_path, shard_bytes=shard_bytes)
    assert (tmp_path / "model.safetensors.index.json").exists() == (shard_bytes < 1 << 30)
    again, sha256 = load_model(tmp_path, max_length=32)
    tokens = torch.arange(20)[None]
    assert again.config == model.config
    assert torch.equal(again.all_logits(tokens), model.all_logits(tokens))
    assert load_model(tmp_path, max_length=16)[1] == sha256
    peer = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        expected = peer(tokens).logits
    assert peer.dtype == torch.float32
    assert torch.allclose(model.all_logits(tokens), expected, rtol=0, atol=3e-5 * float(expected.abs().max()))


def test_sharding_and_half_precision_keep_the_name_of_the_content(tmp_path):
    model = random_model(tiny("qwen2"), 3, max_length=32, dtype=torch.bfloat16)
    save_model(model, tmp_path / "one")
    save_model(model, tmp_path / "many", shard_bytes=10_000)
    (one, name), (_, other) = (
        load_model(tmp_path / "one"),
        load_model(tmp_path / "many", dtype=torch.bfloat16),
    )
    assert name == other
    assert one.dtype == torch.float32
    assert torch.equal(one.layers[1].qkv, model.layers[1].qkv.float())


def test_loading_makes_no_second_copy_of_a_matrix(tmp_path, monkeypatch):
    save_model(random_model(tiny("qwen3"), 3, max_length=32), tmp_path)
    blanks, real = [], weights._blank

    def remembered(*args: object) -> object:
        blanks.append(real(*args))
        return blanks[-1]

    monkeypatch.setattr(weights, "_blank", remembered)
    model, _ = load_model(tmp_path)
    read, kept = (weights.named_tensors(each) for each in (blanks[-1], model))
    assert [name for name in read if read[name].data_ptr() != kept[name].data_ptr()] == []


def test_the_name_of_a_base_covers_weights_configuration_and_tokenizer(tmp_path):
    model = random_model(tiny("llama"), 3, max_length=32)
    save_model(model, tmp_path)
    name = load_model(tmp_path)[1]
    raw = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(raw | {"rms_norm_eps": 1e-3}))
    assert load_model(tmp_path)[1] != name
    names = {base_sha256(name, None), base_sha256(name, "ab"), base_sha256("0" * 64, "ab"), name}
    assert len(names) == 4
    assert all(len(each) == 64 for each in names)


def test_hash_of_tensors_ignores_their_order_and_sees_every_bit():
    a, b = torch.arange(6.0), torch.ones(2, 3, dtype=torch.bfloat16)
    name = tensors_sha256([("a", a), ("b", b)])
    assert tensors_sha256([("b", b.clone()), ("a", a.clone())]) == name
    assert tensors_sha256([("a", a.view(2, 3)), ("b", b)]) != name
    assert tensors_sha256([("a", torch.nextafter(a, a + 1)), ("b", b)]) != name


def test_older_configurations_are_read(families, tmp_path):
    raw = json.loads((families["llama3-tied"].folder / "config.json").read_text())
    rope = {k: v for k, v in LLAMA3.items() if k != "rope_theta"}
    del raw["rope_parameters"], raw["head_dim"], raw["architectures"], raw["hidden_act"]
    raw |= {"rope_theta": 10_000.0, "rope_scaling": rope, "torch_dtype": "float32", "num_key_value_heads": 2}
    (tmp_path / "config.json").write_text(json.dumps(raw))
    assert read_config(tmp_path) == read_config(families["llama3-tied"].folder)
    raw["rope_scaling"] = {("type" if k == "rope_type" else k): v for k, v in rope.items()}
    (tmp_path / "config.json").write_text(json.dumps(raw))
    assert read_config(tmp_path) == read_config(families["llama3-tied"].folder)


QWEN = {"use_sliding_window": True, "sliding_window": 9, "layer_types": None}


@pytest.mark.parametrize(
    ("family", "change", "window"),
    [
        ("mistral-window", {}, 11),
        ("mistral-window", {"sliding_window": None}, None),
        ("qwen2", {"sliding_window": 4096, "use_sliding_window": False, "layer_types": None}, None),
        ("qwen2", QWEN | {"max_window_layers": 0}, 9),
        ("qwen2", QWEN | {"max_window_layers": 28}, None),
        ("qwen3", {"layer_types": ["full_attention"] * 3}, None),
        ("qwen3", QWEN | {"layer_types": ["sliding_attention"] * 3}, 9),
    ],
)
def test_windows_that_all_layers_share_are_understood(families, tmp_path, family, change, window):
    raw = json.loads((families[family].folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(raw | change))
    assert read_config(tmp_path).sliding_window == window


def test_a_mistral_configuration_without_the_key_has_the_familys_default_window(families, tmp_path):
    raw = json.loads((families["mistral-full"].folder / "config.json").read_text())
    del raw["sliding_window"]
    (tmp_path / "config.json").write_text(json.dumps(raw))
    assert read_config(tmp_path).sliding_window == 4096


REFUSED = [
    ("llama", {"model_type": "gpt2"}, "model_type: 'gpt2' is not supported; allowed llama, mistral, qwen2"),
    ("llama", {"attention_bias": True}, "attention_bias: True is not supported; it must be off"),
    ("llama", {"mlp_bias": True}, "mlp_bias: True is not supported"),
    ("qwen3", {"attention_bias": True}, "attention_bias: True is not supported"),
    ("llama", {"hidden_act": "gelu"}, "hidden_act: 'gelu' is not supported; allowed 'silu'"),
    ("llama", {"quantization_config": {"bits": 4}}, "quantization_config: .* must be off"),
    ("llama", {"architectures": ["LlamaForSequenceClassification"]}, "architectures: .* is not supported"),
    ("llama", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rotary scaling 'yarn'"),
    ("llama", {"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2}}, "scaling 'linear'"),
    ("llama", {"rope_scaling": {"rope_type": "default"}}, "rope_scaling: .* allowed null beside"),
    (
        "llama",
        {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}},
        "partial_rotary_factor",
    ),
    ("llama", {"rope_parameters": LLAMA3 | {"factor": None}}, "rope.factor: key is missing"),
    ("llama", {"rope_parameters": LLAMA3 | {"low_freq_factor": 4.0}}, "rope_scaling: .* is out of range"),
    ("llama", {"rope_parameters": "yarn"}, "rope_parameters: 'yarn' is not supported"),
    ("llama", {"sliding_window": 64}, "sliding_window: 64 is not supported; a Llama has none"),
    ("mistral-window", {"sliding_window": 0}, "model.sliding_window: 0 is out of range"),
    ("mistral-window", {"layer_types": ["full_attention"] * 3}, "layer_types: .* 3 layers of one kind"),
    ("qwen2", QWEN | {"max_window_layers": 2}, "layer_types: .*sliding_attention.* 3 layers of one kind"),
    ("qwen2", {"layer_types": ["sliding_attention"] * 3}, "layer_types"),
    ("qwen2", {"layer_types": ["full_attention"] * 2}, "layer_types"),
    ("llama", {"hidden_size": 64.5}, "hidden_size: 64.5 is not a whole number above 0"),
    ("llama", {"num_hidden_layers": True}, "num_hidden_layers: True is not a whole number"),
    ("llama", {"rms_norm_eps": None}, "rms_norm_eps: key is missing"),
    ("llama", {"rms_norm_eps": "small"}, "rms_norm_eps: 'small' is not a number"),
    ("llama", {"num_key_value_heads": 3}, "kv_heads: 3 does not divide heads = 4"),
    ("llama", {"head_dim": 15}, "head_dim: 15 is odd"),
    ("llama", {"head_dim": None, "num_attention_heads": 6}, "hidden_size: 64 is not a multiple of 6 heads"),
    ("llama", {"vocab_size": 511}, r"tensor lm_head.weight has shape \(512, 64\), expected \(511, 64\)"),
    ("llama", {"num_hidden_layers": 2}, "tensor model.layers.2.* is not part of this architecture"),
    ("qwen2", {"model_type": "llama", "architectures": None}, "q_proj.bias is not part of this architecture"),
    ("llama", {"model_type": "qwen3", "architectures": None}, "q_norm.weight is missing"),
]


@pytest.mark.parametrize(("family", "change", "message"), REFUSED)
def test_models_that_would_be_computed_wrongly_are_refused_by_name(
    families, tmp_path, family, change, message
):
    folder = families[family].folder
    raw = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(raw | change))
    (tmp_path / "model.safetensors").symlink_to(folder / "model.safetensors")
    with pytest.raises(InputError, match=message):
        load_model(tmp_path)


def test_all_mistakes_of_a_configuration_are_said_at_once(families, tmp_path):
    raw = json.loads((families["llama"].folder / "config.json").read_text())
    raw |= {"hidden_act": "gelu", "mlp_bias": True, "vocab_size": -1}
    (tmp_path / "config.json").write_text(json.dumps(raw))
    with pytest.raises(InputError) as caught:
        read_config(tmp_path)
    assert [problem.path for problem in caught.value.problems] == ["mlp_bias", "hidden_act", "vocab_size"]
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(InputError, match="not a mapping"):
        read_config(tmp_path)
    with pytest.raises(InputError, match=r"config\.json: cannot read"):
        read_config(tmp_path / "nowhere")


@pytest.fixture
def written(tmp_path) -> Path:
    save_model(random_model(tiny("llama"), 3, max_length=32), tmp_path / "m", shard_bytes=20_000)
    return tmp_path / "m"


def test_pickle_weights_are_never_opened(written):
    for file in written.glob("*.safetensors*"):
        file.unlink()
    torch.save({}, written / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"model\.safetensors: weights file is missing; only safetensors"):
        load_model(written)


@pytest.mark.parametrize(
    "name", ["../m/model-00001-of-00003.safetensors", "/etc/passwd", "no-such.safetensors"]
)
def test_an_index_cannot_point_outside_its_folder(written, name):
    index = json.loads((written / "model.safetensors.index.json").read_text())
    index["weight_map"]["model.norm.weight"] = name
    (written / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"is not a file of this folder|weights file is missing"):
        load_model(written)


def test_damaged_shards_are_refused(written):
    first, second = sorted(written.glob("model-*.safetensors"))[:2]
    whole = second.read_bytes()
    second.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a valid safetensors archive"):
        load_model(written)
    shutil.copy(first, second)
    with pytest.raises(InputError, match="is in two files"):
        load_model(written)
    (written / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(InputError, match="cannot read the index"):
        load_model(written)


def test_integer_weights_are_refused_and_old_buffers_ignored(tmp_path):
    save_model(random_model(tiny("llama"), 3, max_length=32), tmp_path)
    name = load_model(tmp_path)[1]
    tensors = load_file(tmp_path / "model.safetensors")
    buffer = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}
    save_file(tensors | buffer, tmp_path / "model.safetensors")
    assert load_model(tmp_path)[1] == name
    coarse = {"model.norm.weight": torch.ones(32, dtype=torch.int8)}
    save_file(tensors | coarse, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"tensor model\.norm\.weight is I8; allowed F32, F16, BF16"):
        load_model(tmp_path)


def test_a_tied_checkpoint_may_repeat_its_embeddings_but_not_contradict_them(tmp_path):
    save_model(random_model(tiny("qwen2"), 3, max_length=32), tmp_path)
    name = load_model(tmp_path)[1]
    tensors = load_file(tmp_path / "model.safetensors")
    head = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors | {"lm_head.weight": head}, tmp_path / "model.safetensors")
    assert load_model(tmp_path)[1] == name
    save_file(tensors | {"lm_head.weight": head + 1}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"lm_head\.weight differs from the embeddings"):
        load_model(tmp_path)


def test_decoders_that_no_checkpoint_can_describe_are_not_written(tmp_path):
    model = random_model(ModelConfig(**TINY, intermediate_size=48, sliding_window=4), 0, max_length=16)
    with pytest.raises(InputError, match=r"model\.sliding_window: a llama checkpoint never has it"):
        save_model(model, tmp_path)
    assert not list(tmp_path.iterdir())


def test_expected_names_are_those_of_transformers(families):
    for name, checkpoint in families.items():
        tied = checkpoint.reference.config.tie_word_embeddings
        theirs = {
            key: tuple(value.shape)
            for key, value in checkpoint.reference.state_dict().items()
            if not (tied and key == "lm_head.weight")
        }
        assert expected_shapes(read_config(checkpoint.folder)) == theirs, name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 0}, "model.vocab_size: 0 is not a whole number above 0"),
        ({"layers": 2.0}, "model.layers: 2.0 is not a whole number"),
        ({"sliding_window": 0}, "model.sliding_window: 0 is out of range; allowed 1 token and above"),
        ({"family": "gpt2"}, "model.family: 'gpt2' is not known; allowed llama, mistral, qwen2, qwen3"),
        ({"rms_eps": 0.0}, "model.rms_eps: 0.0 is out of range"),
        ({"rope_theta": float("inf")}, "model.rope_theta: inf is out of range"),
        ({"rope_scaling": (8.0, 4.0, 1.0, 64.0)}, "model.rope_scaling: .* 0 < low_freq_factor"),
        ({"heads": 6}, "model.kv_heads: 4 does not divide heads = 6"),
    ],
)
def test_shapes_that_make_no_decoder_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        ModelConfig(**change)


def test_a_folder_is_taken_as_it_is_and_a_hub_name_is_downloaded(tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub", reason="needs the node extra (transformers)")
    assert resolve_checkpoint(str(tmp_path)) == tmp_path
    asked = []

    def download(name: str, **patterns: list[str]) -> str:
        asked.append((name, patterns["allow_patterns"]))
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert resolve_checkpoint("someone/tiny-model") == tmp_path
    assert asked == [("someone/tiny-model", ["*.json", "*.safetensors"])]


def test_names_that_lead_nowhere_are_refused(monkeypatch):
    hub = pytest.importorskip("huggingface_hub", reason="needs the node extra (transformers)")
    with pytest.raises(InputError, match="/no/such: no such folder, and not a hub name like"):
        resolve_checkpoint(Path("/no/such"))

    def unreachable(name: str, **_: list[str]) -> str:
        raise OSError("connection refused\nlong trace")

    monkeypatch.setattr(hub, "snapshot_download", unreachable)
    with pytest.raises(InputError, match="no model hub could provide it: connection refused; download it"):
        resolve_checkpoint("someone/tiny-model")
