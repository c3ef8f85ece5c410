"""Uploads from strangers: every known attack on an adapter's files and names is refused by a rule that says why.

Where a library in common use accepts what is refused here, a test shows it: that is why the node checks for itself.
"""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

import json
import os
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")

from safetensors.torch import load, load_file, save, save_file

from models.errors import InputError
from reference_node.adapter_checks import IGNORED, MUST_BE_OFF
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
from reference_node.strict_json import parse_json

pytestmark = [pytest.mark.node, pytest.mark.filterwarnings("ignore::FutureWarning")]

SMALL = ModelConfig(
    vocab_size=256, hidden_size=64, layers=2, heads=4, kv_heads=2, head_dim=16, intermediate_size=96
)
TARGETS = ("q_proj", "v_proj")
WEIGHTS, CONFIG = pack_adapter(random_adapter(SMALL, 8, 1, targets=TARGETS))
HEADER = json.loads(WEIGHTS[8 : 8 + int.from_bytes(WEIGHTS[:8], "little")])
DATA = WEIGHTS[8 + int.from_bytes(WEIGHTS[:8], "little") :]
HEADER.pop("__metadata__")
FIRST = next(iter(HEADER))
ORDER = sorted(HEADER, key=lambda name: HEADER[name]["data_offsets"])


def archive(header: Any, data: bytes = DATA) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(name: str, **change: Any) -> bytes:
    return archive(HEADER | {name: HEADER[name] | change})


def with_values(*values: float) -> bytes:
    return archive(HEADER, struct.pack(f"<{len(values)}f", *values) + DATA[4 * len(values) :])


def moved(offset: int) -> bytes:
    """Shift the second tensor's offsets, its length unchanged."""
    begin, end = HEADER[ORDER[1]]["data_offsets"]
    return entry(ORDER[1], data_offsets=[begin + offset, end + offset])


HALF = {name: HEADER[name] for name in ORDER[: len(ORDER) // 2]}
TWICE = json.dumps(HEADER)[:-1].encode() + b", " + json.dumps({FIRST: HEADER[FIRST]}).encode()[1:]
ARCHIVES = {
    "empty file": (b"", "header of 0 bytes; allowed 0"),
    "seven bytes": (b"\0" * 7, "header of 0 bytes; allowed 0"),
    "header of 2^60 bytes": ((1 << 60).to_bytes(8, "little") + b"{}", "header of 1152921504606846976 bytes"),
    "header of 2^64 - 1 bytes": (b"\xff" * 8 + b"{}", "header of 18446744073709551615 bytes"),
    "header longer than the file": ((len(WEIGHTS)).to_bytes(8, "little") + WEIGHTS[8:], "within the file"),
    "header of blanks": (archive(b" " * 75_000, b""), "header of 75000 bytes; allowed 69632"),
    "more bytes than the rank allows": (WEIGHTS + bytes(200_000), "an adapter of this rank holds at most"),
    "trailing bytes": (
        WEIGHTS + b"\0",
        f"cover bytes 0 to {len(DATA)} of the data, which has {len(DATA) + 1}",
    ),
    "truncated data": (WEIGHTS[:-1], f"cover bytes 0 to {len(DATA)} of the data, which has {len(DATA) - 1}"),
    "truncated header": (WEIGHTS[:50], "header of .* within the file"),
    "pickle": (b"\x80\x02}q\x00." + bytes(100), "header of .* within the file"),
    "zip archive as torch.save writes it": (b"PK\x03\x04" + bytes(100), "header of .* within the file"),
    "nesting": (archive(b"[" * 30_000), "nested deeper than 3 levels"),
    "nesting inside an entry": (entry(FIRST, shape=[[[8]], 64]), "nested deeper than 3 levels"),
    "not UTF-8": (archive(b'{"\xff": 1}'), "not valid JSON"),
    "not JSON": (archive(b"{'a': 1}"), "not valid JSON"),
    "two JSON values": (archive(b"{} {}"), "not valid JSON"),
    "a list": (archive([]), "header: not a mapping"),
    "NaN in the header": (entry(FIRST, shape=[float("nan"), 64]), "NaN is not a JSON number"),
    "tensor named twice": (archive(TWICE), f"key '{FIRST}' appears twice"),
    "tensor of 4 TB": (
        entry(FIRST, shape=[1 << 20, 1 << 20]),
        r"\[1048576, 1048576\], expected F32 or F16 or BF16",
    ),
    "4 TB by offsets": (entry(FIRST, data_offsets=[0, 1 << 42]), "offsets 0 to 4398046511104 do not hold"),
    "overlapping tensors": (moved(-1024), f"tensor {ORDER[1]} overlaps {ORDER[0]}"),
    "gap between tensors": (moved(4), f"tensor {ORDER[1]} leaves a gap after {ORDER[0]}"),
    "all tensors at one place": (
        archive({name: HEADER[name] | {"data_offsets": [0, 2048]} for name in HEADER}, DATA[:2048]),
        "overlaps",
    ),
    "offsets swapped": (entry(FIRST, data_offsets=HEADER[FIRST]["data_offsets"][::-1]), "do not hold its"),
    "negative offset": (entry(ORDER[0], data_offsets=[-2048, 0]), f"tensor {ORDER[0]} is"),
    "negative shape": (entry(FIRST, shape=[-8, -64]), f"tensor {FIRST} is"),
    "shape of booleans": (entry(FIRST, shape=[True, 64]), f"tensor {FIRST} is"),
    "shape of floats": (entry(FIRST, shape=[8.0, 64.0]), f"tensor {FIRST} is"),
    "three dimensions": (entry(FIRST, shape=[8, 64, 1]), f"tensor {FIRST} is"),
    "transposed": (entry(FIRST, shape=HEADER[FIRST]["shape"][::-1]), f"tensor {FIRST} is F32"),
    "dtype of integers": (entry(FIRST, dtype="I32"), f"tensor {FIRST} is I32"),
    "dtype of 8 bits": (entry(FIRST, dtype="F8_E4M3"), f"tensor {FIRST} is F8_E4M3"),
    "dtype that is no text": (entry(FIRST, dtype=["F32"]), f"tensor {FIRST} is"),
    "half precision over full bytes": (entry(FIRST, dtype="F16"), "do not hold its 1024 bytes"),
    "unknown field of an entry": (entry(FIRST, device="cuda:0"), f"tensor {FIRST} is"),
    "entry without offsets": (
        archive(HEADER | {FIRST: {"dtype": "F32", "shape": [8, 64]}}),
        f"tensor {FIRST} is",
    ),
    "entry that is a number": (archive(HEADER | {FIRST: 7}), f"tensor {FIRST} is 7"),
    "half of the tensors": (archive(HALF, DATA[: len(DATA) // 2]), "is missing"),
    "no tensors": (archive({}, b""), "is missing"),
    "extra tensor": (archive(HEADER | {"lm_head.weight": HEADER[FIRST]}), "lm_head.weight is not expected"),
    "DoRA magnitudes": (
        archive(HEADER | {FIRST.replace("lora_A.weight", "lora_magnitude_vector"): HEADER[FIRST]}),
        "lora_magnitude_vector is not expected",
    ),
    "tensor of another layer": (
        archive({name.replace("layers.1", "layers.2"): HEADER[name] for name in HEADER}),
        "layers.1.self_attn.q_proj.lora_A.weight is missing",
    ),
    "terminal codes in a name": (
        archive(HEADER | {"\x1b[2J" + "x" * 500: {}}),
        r"tensor \?\[2Jx+\.\.\. is not",
    ),
    "metadata that nests": (
        archive(HEADER | {"__metadata__": {"a": {"b": "c"}}}),
        "__metadata__ is not a mapping",
    ),
    "NaN": (with_values(float("nan")), "holds NaN, infinity"),
    "infinity": (with_values(float("inf")), "holds NaN, infinity"),
    "negative infinity": (with_values(0.0, float("-inf")), "holds NaN, infinity"),
    "infinite in half precision": (with_values(-65_536.0), "a value beyond 65504"),
}


@pytest.mark.parametrize(("data", "message"), ARCHIVES.values(), ids=ARCHIVES.keys())
def test_archives_that_are_not_exactly_the_adapter_are_refused(data, message):
    with pytest.raises(InputError, match=message):
        parse_adapter(data, CONFIG, SMALL)


def settings(**change: Any) -> bytes:
    return json.dumps(json.loads(CONFIG) | change).encode()


SETTINGS = {
    "rank of 200,000": ({"r": 200_000}, "r: 200000 is out of range; allowed 1 to 256"),
    "rank of 0": ({"r": 0}, "r: 0 is out of range"),
    "rank that is a boolean": ({"r": True}, "r: True is out of range"),
    "rank that is text": ({"r": "8"}, "r: '8' is out of range"),
    "rank of a thousand digits": ({"r": 10**1000}, "r: 1000.*... is out of range"),
    "rank other than the tensors'": ({"r": 16}, r"lora_A.weight is F32 \[8, 64\], expected .* \[16, 64\]"),
    "alpha of 1e308": ({"lora_alpha": 1e308}, "lora_alpha: 1e[+]308 is out of range; .* at most 64 x r"),
    "alpha of 400 digits": ({"lora_alpha": 10**400}, "lora_alpha: 1000.* is out of range"),
    "alpha of 0": ({"lora_alpha": 0}, "lora_alpha: 0 is out of range"),
    "negative alpha": ({"lora_alpha": -16}, "lora_alpha: -16 is out of range"),
    "alpha that is text": ({"lora_alpha": "16"}, "lora_alpha: '16' is out of range"),
    "no alpha": ({"lora_alpha": None}, "lora_alpha: None is out of range"),
    "regular expression": (
        {"target_modules": "(([a-z0-9_.])+)+!"},
        "target_modules: .* is not a list of q_proj",
    ),
    "regular expression in a list": (
        {"target_modules": ["(([a-z0-9_.])+)+!"]},
        "target_modules: .* is not a list",
    ),
    "all linear layers": ({"target_modules": "all-linear"}, "target_modules: 'all-linear' is not a list"),
    "embedding as target": ({"target_modules": ["embed_tokens"]}, "target_modules: .* is not a list"),
    "no target": ({"target_modules": []}, r"target_modules: \[\] is not a list"),
    "targets that are no text": ({"target_modules": [["q_proj"], {}]}, "target_modules: .* is not a list"),
    "other method": ({"peft_type": "IA3"}, "peft_type: 'IA3' is not supported; allowed 'LORA'"),
    "other task": ({"task_type": "SEQ_CLS"}, "task_type: 'SEQ_CLS' is not supported"),
    "biases": ({"bias": "all"}, "bias: 'all' is not supported"),
    "other base by PiSSA": (
        {"init_lora_weights": "pissa_niter_4"},
        "init_lora_weights: 'pissa_niter_4' is not",
    ),
    "initialisation 1": ({"init_lora_weights": 1}, "init_lora_weights: 1 is not supported"),
    "unknown setting": ({"surprise": None}, "surprise: unknown setting"),
    "unknown setting with terminal codes": ({"\x1b[2J": None}, r"\?\[2J: unknown setting"),
    "setting that nests": ({"auto_mapping": [[[[[]]]]]}, "nested deeper than 4 levels"),
} | {
    f"{key} on": ({key: {"q_proj": 4}}, f"{key}: .* is not supported; it must be off")
    for key in sorted(MUST_BE_OFF)
}


@pytest.mark.parametrize(("change", "message"), SETTINGS.values(), ids=SETTINGS.keys())
def test_settings_that_would_be_served_wrongly_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        parse_adapter(WEIGHTS, settings(**change), SMALL)


TEXTS = {
    "not a mapping": (b"[]", "is not a mapping"),
    "key twice": (CONFIG.rstrip()[:-1] + b', "r": 4}', "key 'r' appears twice"),
    "infinite by digits": (CONFIG.replace(b"16.0", b"1e999"), "1e999 is out of range"),
    "infinite by name": (CONFIG.replace(b"16.0", b"Infinity"), "Infinity is not a JSON number"),
    "a million digits": (CONFIG.replace(b"16.0", b"1" * 50_000), "not valid JSON"),
    "byte order mark": (b"\xef\xbb\xbf" + CONFIG, "not valid JSON"),
    "UTF-16": (CONFIG.decode().encode("utf-16"), "not valid JSON"),
    "half a surrogate pair": (CONFIG.replace(b'"CAUSAL_LM"', rb'"\ud800"'), "not valid JSON"),
    "nesting": (b"[" * 60_000, "nested deeper than 4 levels"),
    "many bytes": (b" " * 65_537, "65537 bytes of JSON; allowed 65536"),
    "no end of text": (b'{"' + b'\\"' * 30_000, "not valid JSON"),
}


@pytest.mark.parametrize(("text", "message"), TEXTS.values(), ids=TEXTS.keys())
def test_configurations_that_readers_would_read_differently_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_adapter(WEIGHTS, text, SMALL)


def test_settings_that_do_not_change_the_result_are_accepted_with_any_value():
    ignored = dict.fromkeys(IGNORED, "anything") | dict.fromkeys(MUST_BE_OFF)
    assert parse_adapter(WEIGHTS, settings(**ignored), SMALL).rank == 8


def test_all_reasons_are_said_at_once():
    with pytest.raises(InputError) as caught:
        parse_adapter(WEIGHTS, settings(r=0, bias="all", use_dora=True, target_modules="x", other=1), SMALL)
    assert len(caught.value.problems) == 5
    with pytest.raises(InputError) as caught:
        parse_adapter(archive({str(i): {} for i in range(1000)}), CONFIG, SMALL)
    assert str(caught.value.problems[-1]).endswith("and 988 more")


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_do_more_than_be_refused(noise, in_header):
    data = archive(noise) if in_header else noise
    with pytest.raises(InputError):
        parse_adapter(data, CONFIG, SMALL)
    with pytest.raises(InputError):
        parse_adapter(WEIGHTS, noise, SMALL)


@given(
    st.lists(
        st.tuples(st.integers(0, len(WEIGHTS) - len(DATA) - 1), st.integers(0, 255)), min_size=1, max_size=3
    )
)
def test_a_header_with_changed_bytes_is_refused_or_means_what_the_library_reads(changes):
    changed = bytearray(WEIGHTS)
    for place, value in changes:
        changed[place] = value
    try:
        found = parse_adapter(bytes(changed), CONFIG, SMALL)
    except InputError:
        return
    reference = load(bytes(changed))
    assert pack_adapter(found)[0] == save(reference, metadata={"format": "pt"})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, st.integers(0, 4))
def test_strict_json_reads_what_the_library_reads_down_to_the_depth(value, depth_max):
    def depth(node: Any) -> int:
        inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    def read() -> Any:
        return parse_json(json.dumps(value).encode(), where="x", bytes_max=100_000, depth_max=depth_max)

    if depth(value) <= depth_max:
        assert read() == value
    else:
        with pytest.raises(InputError, match="nested deeper"):
            read()


@pytest.mark.parametrize(
    "attack",
    [
        lambda: parse_adapter((1 << 60).to_bytes(8, "little") + b"{}", CONFIG, SMALL),
        lambda: parse_adapter(entry(FIRST, shape=[1 << 20, 1 << 20]), CONFIG, SMALL),
        lambda: parse_adapter(WEIGHTS, settings(r=200_000), SMALL),
        lambda: parse_adapter(WEIGHTS, settings(r=256), SMALL),
        lambda: parse_adapter(archive(b"[" * 60_000), CONFIG, SMALL),
    ],
    ids=["header of 2^60 bytes", "tensor of 4 TB", "rank of 200,000", "rank of 256", "nesting"],
)
def test_refusals_allocate_no_more_than_the_upload_holds(attack: Callable[[], None], monkeypatch):
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a tensor was made of a refused upload")

    monkeypatch.setattr(torch, "frombuffer", never)
    tracemalloc.start()
    try:
        with pytest.raises(InputError):
            attack()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


class Trap:
    """Unpickling this creates a file: what a hostile `.bin` could do, harmlessly."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


def test_pickle_is_never_opened_neither_alone_nor_beside_the_weights(tmp_path):
    save_adapter(random_adapter(SMALL, 8, 1, targets=TARGETS), tmp_path)
    torch.save({"weight": Trap(str(tmp_path / "sprung"))}, tmp_path / "adapter_model.bin")
    assert read_adapter(tmp_path, SMALL).rank == 8
    (tmp_path / WEIGHTS_FILE).unlink()
    with pytest.raises(InputError, match="cannot read the adapter's weights"):
        read_adapter(tmp_path, SMALL)
    (tmp_path / WEIGHTS_FILE).write_bytes((tmp_path / "adapter_model.bin").read_bytes())
    with pytest.raises(InputError, match="not a safetensors archive"):
        read_adapter(tmp_path, SMALL)
    assert not (tmp_path / "sprung").exists()


def test_a_pipe_or_a_folder_in_place_of_a_file_does_not_keep_the_node_waiting(tmp_path):
    save_adapter(random_adapter(SMALL, 8, 1, targets=TARGETS), tmp_path)
    (tmp_path / WEIGHTS_FILE).unlink()
    os.mkfifo(tmp_path / WEIGHTS_FILE)
    with pytest.raises(InputError, match="no such file"):
        read_adapter(tmp_path, SMALL)
    (tmp_path / CONFIG_FILE).unlink()
    (tmp_path / CONFIG_FILE).mkdir()
    with pytest.raises(InputError, match="cannot read the adapter's configuration"):
        read_adapter(tmp_path, SMALL)


def test_safetensors_accepts_values_that_are_refused_here():
    assert not torch.isfinite(load(with_values(float("nan")))[ORDER[0]]).all()


@pytest.mark.filterwarnings("ignore")
def test_peft_serves_what_is_refused_here(oracle, tmp_path):
    """Half of the tensors, only a pickle, alpha of 1e308: peft loads all three."""
    from peft import PeftModel

    from reference_node.config_file import read_config

    shape = read_config(oracle.folder)
    source = oracle.adapters[0]

    def spoilt(name: str, tensors: dict | None, **change: Any) -> Any:
        folder = tmp_path / name
        folder.mkdir()
        raw = json.loads((source / CONFIG_FILE).read_text()) | change
        (folder / CONFIG_FILE).write_text(json.dumps(raw))
        if tensors is None:
            torch.save(load_file(source / WEIGHTS_FILE), folder / "adapter_model.bin")
        else:
            save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
        with pytest.raises(InputError):
            read_adapter(folder, shape)
        return folder

    whole = load_file(source / WEIGHTS_FILE)
    half = dict(list(whole.items())[::2])
    folders = [spoilt("half", half), spoilt("pickle", None), spoilt("alpha", whole, lora_alpha=1e308)]
    for folder in folders:
        loaded = PeftModel.from_pretrained(oracle.reference, folder)
        assert loaded.active_adapter == "default"
        loaded.unload()
