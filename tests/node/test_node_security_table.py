"""The security table, row by row, over a live node's interface.

Each test is named after its row. The parser's own tests (`test_node_security.py`, `test_node_registry_security.py`) try
many more forms; here every attack comes as a stranger sends it, and must leave nothing behind.
"""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

import hmac
import io
import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("fastapi", reason="needs the node extra (fastapi)")

from reference_node.access import KeyStore, Quota
from reference_node.adapters import pack_adapter
from reference_node.serve.limits import Limits
from tests.node.api_world import Live, adapter, live, make_base, small, upload_parts

pytestmark = pytest.mark.node

WEIGHTS, CONFIG = pack_adapter(adapter(1))
SPLIT = 8 + int.from_bytes(WEIGHTS[:8], "little")
HEADER, DATA = json.loads(WEIGHTS[8:SPLIT]), WEIGHTS[SPLIT:]
HEADER.pop("__metadata__")
ORDER = sorted(HEADER, key=lambda name: HEADER[name]["data_offsets"])
FIRST = ORDER[0]
PROMPT = "The river Aar flows through Bern and past many a castle on its long way to the Rhine."
TRAVERSAL = (
    "../x",
    "..%2fx",
    "/etc/passwd",
    "a/b",
    "..",
    "a\\b",
    "%2e%2e%2fx",
    "a\0b",
    "A",
    "-a",
    "a" * 65,
    "base",
)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    base = make_base(tmp_path_factory.mktemp("base"))
    limits = Limits(upload_bytes=1 << 20, prompt_tokens=60, max_tokens=40)
    with live(small(base, tmp_path_factory.mktemp("data"), limits=limits)) as one:
        one.upload("law", adapter(2))
        yield one


def archive(header: Any, data: bytes = DATA) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def changed(name: str, **change: Any) -> bytes:
    return archive(HEADER | {name: HEADER[name] | change})


def settings(**change: Any) -> bytes:
    return json.dumps(json.loads(CONFIG) | change).encode()


def on_disk(node: Live) -> dict[str, int]:
    """Return every file of the registry with its size."""
    root = node.options.registry_folder
    return {str(path.relative_to(root)): path.stat().st_size for path in root.rglob("*") if path.is_file()}


def refused(
    node: Live,
    weights: bytes = WEIGHTS,
    config: bytes = CONFIG,
    *,
    says: str,
    alias: str = "attack",
    name: str = "adapter_model.safetensors",
    status: int = 400,
) -> None:
    """Upload, and check the refusal: in time, with a reason, nothing kept, and everybody else served as before."""
    before, said = on_disk(node), node.complete("law", "x", max_tokens=6).json()["choices"]
    files = {"weights": (name, weights), "config": ("adapter_config.json", config)}
    begun = time.monotonic()
    answer = node.http.post("/v1/adapters", data={"alias": alias}, files=files)
    assert time.monotonic() - begun < 5
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert says in error["message"]
    assert on_disk(node) == before
    assert [entry["alias"] for entry in node.http.get("/v1/adapters").json()["data"]] == ["law"]
    assert alias == "base" or node.complete(alias, "x").status_code == 404
    assert node.complete("law", "x", max_tokens=6).json()["choices"] == said


class Trap:
    """Unpickling this creates a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.safetensors"])
def test_row_pickle(node: Live, tmp_path: Path, name: str) -> None:
    pickled = io.BytesIO()
    torch.save({FIRST: torch.zeros(2), "trap": Trap(str(tmp_path / "sprung"))}, pickled)
    refused(node, pickled.getvalue(), name=name, says="not a safetensors archive")
    assert not (tmp_path / "sprung").exists()


def test_row_pickle_beside_no_weights(node: Live) -> None:
    files = {"adapter_model.bin": ("adapter_model.bin", WEIGHTS), "config": ("adapter_config.json", CONFIG)}
    answer = node.http.post("/v1/adapters", data={"alias": "attack"}, files=files)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "weights")


def moved(offset: int) -> bytes:
    begin, end = HEADER[ORDER[1]]["data_offsets"]
    return changed(ORDER[1], data_offsets=[begin + offset, end + offset])


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ((1 << 60).to_bytes(8, "little") + b"{}", "header of 1152921504606846976 bytes"),
        (archive(b"[" * 10_000), "nested deeper"),
        (moved(-64), "overlaps"),
        (WEIGHTS[:-1], "cover bytes 0 to"),
        (WEIGHTS[: SPLIT - 10], "within the file"),
        (changed(FIRST, shape=[1 << 20, 1 << 20]), "expected F32 or F16 or BF16"),
        (changed(FIRST, data_offsets=[0, 1 << 42]), "do not hold its"),
    ],
    ids=["2^60", "nesting", "overlap", "data cut", "header cut", "4 TB by shape", "4 TB by offsets"],
)
def test_row_header(node: Live, weights: bytes, says: str) -> None:
    refused(node, weights, says=says)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_row_values_that_are_not_finite(node: Live, value: float) -> None:
    refused(node, archive(HEADER, struct.pack("<f", value) + DATA[4:]), says="holds NaN, infinity")


@pytest.mark.parametrize("alpha", [1e308, -16.0, 65 * 4.0])
def test_row_alpha(node: Live, alpha: float) -> None:
    refused(node, config=settings(lora_alpha=alpha), says="lora_alpha: ")


def test_row_half_of_the_tensors(node: Live) -> None:
    half = {name: HEADER[name] for name in ORDER[: len(ORDER) // 2]}
    end = max(entry["data_offsets"][1] for entry in half.values())
    for init in (True, False):  # peft would fill the rest with zeros, or with noise
        weights, config = archive(half, DATA[:end]), settings(init_lora_weights=init)
        refused(node, weights, config, says="is missing")


@pytest.mark.parametrize("key", ["lm_head.weight", FIRST.replace("lora_A.weight", "lora_magnitude_vector")])
def test_row_extra_keys(node: Live, key: str) -> None:
    refused(node, archive(HEADER | {key: HEADER[FIRST]}), says=f"{key} is not expected")


FLAGS = {
    "use_dora": True,
    "alora_invocation_tokens": [1, 2],
    "modules_to_save": ["lm_head"],
    "bias": "all",
    "layer_replication": [[0, 2]],
    "target_parameters": ["mlp.experts"],
    "rank_pattern": {"q_proj": 2},
    "use_rslora": True,
    "a_flag_of_tomorrow": 1,
}


@pytest.mark.parametrize("flag", FLAGS)
def test_row_flags_that_would_be_ignored_silently(node: Live, flag: str) -> None:
    refused(node, config=settings(**{flag: FLAGS[flag]}), says=f"{flag}: ")


@pytest.mark.parametrize(
    ("weights", "config", "says"),
    [
        (changed(FIRST, shape=HEADER[FIRST]["shape"][::-1]), CONFIG, f"tensor {FIRST} is F32"),
        (WEIGHTS, settings(r=200_000), "r: 200000 is out of range"),
        (WEIGHTS, settings(r=8), "expected"),
    ],
    ids=["shape", "r of 200,000", "another rank"],
)
def test_row_shape_and_rank(node: Live, weights: bytes, config: bytes, says: str) -> None:
    refused(node, weights, config, says=says)


@pytest.mark.parametrize("modules", ["(([a-z0-9_.])+)+!", ["(([a-z0-9_.])+)+!"], "all-linear", ["lm_head"]])
def test_row_regular_expression(node: Live, modules: Any) -> None:
    refused(node, config=settings(target_modules=modules), says="target_modules: ")


@pytest.mark.parametrize("alias", TRAVERSAL, ids=ascii)
def test_row_path_traversal_in_an_alias(node: Live, alias: str) -> None:
    refused(node, alias=alias, says="alias" if alias != "base" else "choose another")


def test_row_path_traversal_by_a_path(node: Live) -> None:
    """No way leads from a path that a client names to a file of the node."""
    before = on_disk(node)
    fields = {"alias": "attack", "weights": "/etc/hostname", "config": "/etc/hostname"}
    assert node.http.post("/v1/adapters", data=fields).status_code == 400
    body = {"lora_name": "attack", "lora_path": str(node.options.registry_folder)}
    assert node.http.post("/v1/load_lora_adapter", json=body).status_code == 404
    for path in ("..%2f..%2fkeys.json", "%2e%2e", "law%2f..%2flaw"):
        for method in ("GET", "DELETE"):
            assert node.http.request(method, f"/v1/adapters/{path}").status_code in (400, 404)
    name = "../../../escaped.safetensors"
    files = {"weights": (name, WEIGHTS), "config": ("../../config.json", CONFIG)}
    sha256 = node.http.post("/v1/adapters", data={"alias": "named"}, files=files).json()["sha256"]
    added = set(on_disk(node)) - set(before)
    assert added == {f"blobs/{sha256}/adapter_model.safetensors", f"blobs/{sha256}/adapter_config.json"}
    assert node.http.delete("/v1/adapters/named").status_code == 200


def test_row_adapter_bombing(node: Live) -> None:
    size = len(WEIGHTS) + 4_000
    key = node.key_of("bomber", ("adapters:write",), Quota(None, None, None, 2 * size))
    headers = {"authorization": f"Bearer {key}"}

    def send(alias: str, seed: int) -> Any:
        files = upload_parts(adapter(seed))
        return node.http.post("/v1/adapters", data={"alias": alias}, files=files, headers=headers)

    first = send("bomb0", 50)
    assert first.status_code == 201
    stored = on_disk(node)
    assert [send("bomb0", 50).status_code, send("bomb1", 50).status_code] == [201, 201]
    blobs = {name for name in on_disk(node) if name.startswith("blobs/")}
    assert blobs == {name for name in stored if name.startswith("blobs/")}, (
        "identical uploads are stored once"
    )
    answers = [send(f"bomb{seed}", seed) for seed in range(51, 55)]
    assert [answer.status_code for answer in answers] == [201, 413, 413, 413]
    assert answers[-1].json()["error"]["code"] == "budget_exceeded"
    refused(node_without(node, "bomb"), WEIGHTS + bytes(1 << 20), says="larger than", status=413)


def node_without(node: Live, prefix: str) -> Live:
    """Delete the aliases that begin so, and return the node."""
    for entry in node.http.get("/v1/adapters").json()["data"]:
        if entry["alias"].startswith(prefix):
            assert node.http.delete(f"/v1/adapters/{entry['alias']}").status_code == 200
    return node


def test_bounds_of_prompt_and_answer(node: Live) -> None:
    for change, param in (
        ({"prompt": [5] * 61}, "prompt"),
        ({"prompt": "x", "max_tokens": 41}, "max_tokens"),
    ):
        answer = node.http.post("/v1/completions", json={"model": "base", **change})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert node.complete("base", [5] * 60, max_tokens=40).status_code == 200


def test_keys_are_compared_in_constant_time(node: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known id, unknown id and what is no key at all: each costs one comparison of whole digests."""
    store, compared = KeyStore(node.options.key_file), []
    whole = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((len(a), len(b))) or whole(a, b))
    wrong = node.key[:-1] + ("A" if node.key[-1] != "A" else "B")
    for plain in (node.key, wrong, "olk_" + "0" * 16 + node.key[20:], "nothing"):
        assert (store.verify(plain) is not None) == (plain == node.key)
    assert compared == [(64, 64)] * 4


def test_a_tenant_learns_nothing_from_the_prefix_cache_of_another(node: Live) -> None:
    def cached(tenant: str) -> int:
        body = {"model": "law", "prompt": PROMPT, "max_tokens": 1}
        headers = {"authorization": f"Bearer {keys[tenant]}"}
        answer = node.http.post("/v1/completions", json=body, headers=headers).json()
        return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])

    keys = {tenant: node.key_of(tenant) for tenant in ("first", "second")}
    assert [cached("first"), cached("first") > 0] == [0, True]
    assert cached("second") == 0
