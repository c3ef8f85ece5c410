"""An adapter's files and its name: peft's folders are read as peft means them, and the hash is of what is computed."""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")

from safetensors.torch import load, load_file, save

from models.errors import InputError
from reference_node.adapter_checks import TARGETS, expected_shapes, weights_bytes_max
from reference_node.adapters import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    pack_adapter,
    parse_adapter,
    random_adapter,
    read_adapter,
    save_adapter,
)
from reference_node.config import ModelConfig

pytestmark = [pytest.mark.node, pytest.mark.filterwarnings("ignore::FutureWarning")]

SMALL = ModelConfig(
    vocab_size=256, hidden_size=64, layers=2, heads=4, kv_heads=2, head_dim=16, intermediate_size=96
)
MADE = random_adapter(SMALL, 3, 1, targets=("q_proj", "down_proj"))
WEIGHTS, CONFIG = pack_adapter(MADE)
START = 8 + int.from_bytes(WEIGHTS[:8], "little")


def rewrite(tensors: dict, order: list[str], metadata: dict, blanks: int) -> bytes:
    """Write a safetensors archive with the tensors in any order, which the library does not offer."""
    header, data = {"__metadata__": metadata}, b""
    for name in order:
        tensor = tensors[name]
        raw = tensor.numpy().tobytes()
        header[name] = {
            "data_offsets": [len(data), len(data) + len(raw)],
            "shape": list(tensor.shape),
            "dtype": "F32",
        }
        data += raw
    text = json.dumps(header).encode() + b" " * blanks
    return len(text).to_bytes(8, "little") + text + data


def test_a_folder_is_read_back_as_it_was_written(tmp_path):
    save_adapter(MADE, tmp_path)
    found = read_adapter(tmp_path, SMALL)
    assert (found.sha256, found.rank, found.alpha, found.targets) == (MADE.sha256, 3, 6.0, MADE.targets)
    assert all(
        torch.equal(found.a[key], MADE.a[key]) and torch.equal(found.b[key], MADE.b[key]) for key in MADE.a
    )
    assert found.nbytes() == 4 * 3 * 2 * (64 + 64 + 96 + 64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_tensors_are_those_that_the_safetensors_library_reads(dtype):
    weights, config_json = pack_adapter(random_adapter(SMALL, 4, 7, dtype=dtype))
    found, reference = parse_adapter(weights, config_json, SMALL), load(weights)
    assert sum(map(len, (found.a, found.b))) == len(reference)
    for (layer, projection), a in found.a.items():
        block = "mlp" if projection in TARGETS[4:] else "self_attn"
        base = f"base_model.model.model.layers.{layer}.{block}.{projection}"
        assert torch.equal(a, reference[f"{base}.lora_A.weight"])
        assert torch.equal(found.b[layer, projection], reference[f"{base}.lora_B.weight"])
        assert a.dtype == dtype


@pytest.mark.parametrize("which", [0, 1, 2])
def test_peft_folders_are_accepted_and_peft_accepts_what_is_written(oracle, tmp_path, which):
    from peft import PeftConfig

    from reference_node.config_file import read_config

    config = read_config(oracle.folder)
    found = read_adapter(oracle.adapters[which], config)
    assert (found.rank, found.scale) == ((4, 8, 16)[which], 2.0)
    assert found.targets == TARGETS
    save_adapter(found, tmp_path)
    assert read_adapter(tmp_path, config).sha256 == found.sha256
    settings = PeftConfig.from_pretrained(tmp_path)
    assert (settings.r, settings.lora_alpha, set(settings.target_modules)) == (
        found.rank,
        found.alpha,
        set(TARGETS),
    )
    before, after = (load_file(folder / WEIGHTS_FILE) for folder in (oracle.adapters[which], tmp_path))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@given(
    order=st.permutations(sorted(load(WEIGHTS))),
    metadata=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    blanks=st.integers(0, 9),
    indent=st.sampled_from([None, 0, 3]),
    targets=st.permutations(MADE.targets),
    origin=st.text(max_size=8),
)
def test_repacking_changes_no_hash(order, metadata, blanks, indent, targets, origin):
    weights = rewrite(load(WEIGHTS), order, metadata, blanks)
    settings = json.loads(CONFIG) | {
        "target_modules": targets,
        "base_model_name_or_path": origin,
        "lora_dropout": 0.1,
    }
    found = parse_adapter(weights, json.dumps(settings, indent=indent).encode(), SMALL)
    assert found.sha256 == MADE.sha256
    assert pack_adapter(found) == (WEIGHTS, CONFIG)


@given(st.integers(START * 8, len(WEIGHTS) * 8 - 1))
def test_any_changed_bit_of_a_weight_changes_the_hash_or_is_refused(bit):
    changed = bytearray(WEIGHTS)
    changed[bit // 8] ^= 1 << bit % 8
    values = load(bytes(changed)).values()
    if all(bool((tensor.abs() <= 65_504).all()) for tensor in values):
        assert parse_adapter(bytes(changed), CONFIG, SMALL).sha256 != MADE.sha256
    else:
        with pytest.raises(InputError, match="holds NaN, infinity or a value beyond 65504"):
            parse_adapter(bytes(changed), CONFIG, SMALL)


@pytest.mark.parametrize(
    "other",
    [
        random_adapter(SMALL, 3, 1, targets=("q_proj", "down_proj"), alpha=6.000000000000001),
        random_adapter(SMALL, 3, 1, targets=("q_proj",)),
        random_adapter(SMALL, 3, 1, targets=("q_proj", "down_proj"), dtype=torch.float16),
        random_adapter(SMALL, 2, 1, targets=("q_proj", "down_proj")),
        random_adapter(SMALL, 3, 2, targets=("q_proj", "down_proj")),
    ],
    ids=["alpha", "targets", "dtype", "rank", "weights"],
)
def test_every_effective_difference_is_another_name(other):
    assert other.sha256 != MADE.sha256
    assert parse_adapter(*pack_adapter(other), SMALL).sha256 == other.sha256


def test_names_of_two_adapters_of_equal_bytes_under_other_projections_differ():
    q, o = (random_adapter(SMALL, 2, 5, targets=(target,)) for target in ("q_proj", "o_proj"))
    assert all(torch.equal(q.a[layer, "q_proj"], o.a[layer, "o_proj"]) for layer in (0, 1))
    assert q.sha256 != o.sha256


def test_the_largest_archive_that_is_accepted_is_the_largest_that_is_read(tmp_path):
    expected = expected_shapes(SMALL, 3, MADE.targets)
    limit = weights_bytes_max(expected)
    save_adapter(MADE, tmp_path)
    note = "n" * (limit - len(save(load(WEIGHTS), metadata={"format": "pt", "note": ""})) - 8)
    (tmp_path / WEIGHTS_FILE).write_bytes(save(load(WEIGHTS), metadata={"format": "pt", "note": note}))
    assert limit - 16 < (tmp_path / WEIGHTS_FILE).stat().st_size <= limit
    assert read_adapter(tmp_path, SMALL).sha256 == MADE.sha256
    with (tmp_path / WEIGHTS_FILE).open("ab") as file:
        file.write(b"\0" * 32)
    with pytest.raises(InputError, match=f"hold at most {limit}"):
        read_adapter(tmp_path, SMALL)


def test_a_read_adapter_shares_no_memory_with_the_archive_or_another_tensor():
    found = parse_adapter(WEIGHTS, CONFIG, SMALL)
    storages = {
        tensor.untyped_storage().data_ptr() for store in (found.a, found.b) for tensor in store.values()
    }
    assert len(storages) == len(found.a) + len(found.b)
    next(iter(found.a.values())).zero_()
    assert parse_adapter(WEIGHTS, CONFIG, SMALL).sha256 == MADE.sha256


def test_errors_name_the_file_of_a_folder_and_the_part_of_an_upload(tmp_path):
    save_adapter(replace(MADE, alpha=1e9), tmp_path)
    with pytest.raises(InputError) as caught:
        read_adapter(tmp_path, SMALL)
    assert [problem.where for problem in caught.value.problems] == [str(tmp_path / CONFIG_FILE)]
    with pytest.raises(InputError) as caught:
        parse_adapter(b"", CONFIG, SMALL)
    assert [problem.where for problem in caught.value.problems] == [WEIGHTS_FILE]
