"""What a node is made of: lengths and memory that hold, flags that reach the engine, adapters given once."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("fastapi", reason="needs the node extra (fastapi)")

import torch

from models.errors import InputError
from reference_node import tiny_base
from reference_node.config_file import read_config
from reference_node.registry import Registry
from reference_node.serve.opening import NodeOptions, adopt_bundled, open_node
from reference_node.serve.sizing import context_length, kv_blocks
from tests.node.api_world import LENGTH_MAX, make_base, small

pytestmark = pytest.mark.node

LENGTHS = [
    # max_position_embeddings, asked, given
    (512, None, 512),
    (512, 512, 512),
    (512, 64, 64),
    (131_072, None, 2048),
    (131_072, 8192, 8192),
    (None, None, 2048),
    (None, 4096, 4096),
]


@pytest.mark.parametrize(("trained", "asked", "given"), LENGTHS)
def test_a_request_is_no_longer_than_the_base_takes(
    tmp_path: Path, trained: int | None, asked: int | None, given: int
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": trained}))
    assert context_length(tmp_path, asked) == given


def test_a_length_beyond_the_base_is_refused_with_both_numbers() -> None:
    with pytest.raises(InputError, match=r"--length-max 513: .* 512 positions"):
        context_length(tiny_base.folder(), 513)


def test_memory_for_less_than_a_block_is_refused_and_the_least_is_enough() -> None:
    config = read_config(tiny_base.folder())
    with pytest.raises(InputError, match=r"--kv-bytes 100: allowed 0, and [0-9]+ ") as found:
        kv_blocks(100, config, torch.float32)
    least = int(str(found.value).split("and ")[1].split()[0])
    assert kv_blocks(least, config, torch.float32) == 1
    assert kv_blocks(0, config, torch.float32) is None
    with pytest.raises(InputError):
        kv_blocks(least - 1, config, torch.float32)


def test_flags_reach_the_engine(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    options = small(base, tmp_path / "data", length_max=None, merge_bytes=1 << 20, distinct_adapters_max=3)
    node = open_node(options)
    config = node.backend._engine.config  # type: ignore[attr-defined]
    assert (config.length_max, config.merge_bytes, config.distinct_adapters_max) == (LENGTH_MAX, 1 << 20, 3)
    node.log.close()
    node.registry.close()


def test_engine_flags_out_of_range_are_named() -> None:
    with pytest.raises(InputError) as found:
        NodeOptions(policy="lfu", device="tpu", merge_bytes=-1, distinct_adapters_max=-1, length_max=1)
    text = str(found.value)
    for flag in ("policy lfu", "device tpu", "merge-bytes -1", "distinct-adapters-max -1", "length-max 1"):
        assert f"--{flag}" in text
    assert "lru" in text


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"--device cuda: not available; allowed here: cpu$"):
        NodeOptions(device="cuda")


def test_bundled_adapters_come_once(tmp_path: Path) -> None:
    config = read_config(tiny_base.folder())
    with closing(Registry(tmp_path, config, "")) as registry:
        adopt_bundled(registry)
        aliases = [version.alias for version in registry.listing()]
        assert aliases
        for alias in aliases:
            registry.delete(alias, tenant="", admin=True)
    with closing(Registry(tmp_path, config, "")) as registry:
        adopt_bundled(registry)
        assert not registry.listing()
