"""The accelerator script runs the same code on a CPU at a tiny shape, writes what it finds, refuses what it cannot."""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")

from reference_node import kernels
from reference_node.adapters import random_adapter
from reference_node.bench import accelerator, accelerator_rig
from reference_node.bench.accelerator_checks import judge
from reference_node.config import ModelConfig
from reference_node.graphs import DecodeGraphs, buckets
from reference_node.kernels import check, reference
from reference_node.kv import PagedKV
from reference_node.model import random_model
from reference_node.pool import AdapterPool

pytestmark = pytest.mark.node

SMALL = ModelConfig(
    vocab_size=256, hidden_size=64, layers=2, heads=4, kv_heads=2, head_dim=16, intermediate_size=96
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(folder: Path, section: str) -> tuple[int, dict[str, Any]]:
    code = accelerator.main(
        ["--out", str(folder), "--device", "cpu", "--preset", "tiny", "--section", section]
    )
    return code, json.loads((folder / f"{section}.json").read_text())


def test_every_section_writes_its_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for section in ("ceilings", "kernels", "figures", "swap"):
        assert run(tmp_path, section)[0] == 0
    kept = json.loads((tmp_path / "kernels.json").read_text())
    assert kept["failed"] == []
    assert kept["cases"] == len(kept["errors"]) > 40
    figures = json.loads((tmp_path / "figures.json").read_text())["figures"]
    figures += json.loads((tmp_path / "swap.json").read_text())["figures"]
    assert [row["id"] for row in figures] == [
        "roofline.b1", "roofline.b8", "roofline.b32", "lora32.over_base.b32", "lora40.over_base.b32",
        "swap_p99_ms", "swap_tpot_spike",
    ]  # fmt: skip
    assert all(row["value"] > 0 and row["bar"] is None and row["ok"] is None for row in figures)
    told = capsys.readouterr().err
    assert all(row["id"] in told for row in figures)


def test_sections_run_in_processes_of_their_own(tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path), "--device", "cpu", "--preset", "tiny", "--only", "ceilings"]
    assert accelerator.main(arguments) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["sections"] == {"ceilings": "ok"}
    assert json.loads((tmp_path / "ceilings.json").read_text())["bytes_per_s"] > 1e6


def test_section_over_its_time_is_stopped_and_the_rest_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerator.subprocess, "run", run_too_long)
    job = accelerator.Job(tmp_path, "cpu", "tiny")
    assert accelerator.run_all(job, ["ceilings", "swap"]) == 1
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["sections"] == {"ceilings": "stopped after 60 s", "swap": "stopped after 120 s"}


def run_too_long(command: list[str], *, timeout: float, **_: Any) -> None:
    raise accelerator.subprocess.TimeoutExpired(command, timeout)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_missing_device_is_refused_with_what_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert accelerator.main(["--out", str(tmp_path)]) == 2
    assert "--device cpu --preset tiny" in capsys.readouterr().err


def test_bad_options_are_all_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.touch()
    assert accelerator.main(["--out", str(file), "--device", "cpu", "--only", "swap,dance"]) == 2
    told = capsys.readouterr().err
    assert "'dance' is unknown" in told
    assert "cannot be a folder" in told


def test_bars_apply_to_the_8b_shape_on_an_accelerator_alone() -> None:
    plan = accelerator_rig.PLANS["8b"]
    met = accelerator_rig.figure(plan, "cuda", "roofline.b1", 0.81, "higher", {})
    late = accelerator_rig.figure(plan, "cuda", "swap_p99_ms", 11.0, "lower", {})
    here = accelerator_rig.figure(plan, "cpu", "roofline.b1", 0.1, "higher", {})
    assert [row["ok"] for row in (met, late, here)] == [True, False, None]
    assert all(name in {"roofline.b1", "roofline.b32", "roofline.b128"} for name in accelerator_rig.BARS
               if name.startswith("roofline"))  # fmt: skip


def test_exception_in_a_kernel_is_a_failed_case() -> None:
    def broken() -> float:
        raise RuntimeError("no such instruction")

    row = judge("case", torch.float32, broken)
    assert row["ok"] is False
    assert "no such instruction" in row["error"]
    assert judge("case", torch.float32, lambda: float("inf"))["ok"] is False


@pytest.mark.parametrize(
    ("most", "sizes"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (128, [1, 2, 4, 8, 16, 32, 64, 128])]
)
def test_buckets_are_powers_of_two_and_the_largest_batch(most: int, sizes: list[int]) -> None:
    assert buckets(most) == sizes


def test_padding_rows_change_nothing() -> None:
    """Three rows in a bucket of three and of eight: same logits, and nobody's blocks are written."""
    model = random_model(SMALL, 0, max_length=64)
    pool = AdapterPool(SMALL, slots=4, rank_max=16, slabs=True)
    slots = [pool.acquire(pool.add(random_adapter(SMALL, r, r, gain=20.0))) for r in (4, 8, 16)]
    adapters = [((slots[0], 1.0),), (), ((slots[1], 0.5), (slots[2], 2.0))]
    results = []
    for batch_max in (3, 8):
        kv = PagedKV(SMALL, 40, 4, model.embed)
        graphs = DecodeGraphs(model, kv, pool, batch_max=batch_max, length_max=32)
        for position in range(9):
            blocks = [[1 + 8 * row + i for i in range(position // 4 + 1)] for row in range(3)]
            tokens = [(7 * row + position) % 256 for row in range(3)]
            logits = graphs.decode(tokens, [position] * 3, blocks, adapters)
        used = {1 + 8 * row + i for row in range(3) for i in range(3)} | {0}
        assert not bool(kv.k[:, [i for i in range(41) if i not in used]].any())
        results.append((logits.clone(), kv.k[:, 1:].clone()))
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_graph_steps_equal_the_forward_pass_over_the_whole_text() -> None:
    model = random_model(SMALL, 0, max_length=64)
    pool = AdapterPool(SMALL, slots=1, rank_max=4, slabs=True)
    graphs = DecodeGraphs(model, PagedKV(SMALL, 8, 4, model.embed), pool, batch_max=4, length_max=32)
    text = [3, 99, 7, 250, 18, 42]
    steps = [graphs.decode([token], [i], [[2, 5]])[0].clone() for i, token in enumerate(text)]
    torch.testing.assert_close(
        torch.stack(steps), model.all_logits(torch.tensor([text]))[0], rtol=1e-3, atol=1e-4
    )


def test_recording_that_fails_falls_back_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    model = random_model(SMALL, 0, max_length=64)
    pool = AdapterPool(SMALL, slots=1, rank_max=4, slabs=True)
    graphs = DecodeGraphs(model, PagedKV(SMALL, 8, 4, model.embed), pool, batch_max=2, length_max=16)
    graphs.recording = True
    graphs._record = no_recording
    logits = graphs.decode([1], [0], [[1]])
    assert logits.shape == (1, 256)
    assert not graphs.recording
    assert "CUDA graphs are off" in caplog.text


def no_recording(size: int, uses: int) -> None:
    raise RuntimeError("operation not permitted when stream is capturing")


def test_without_triton_the_reference_serves() -> None:
    case = check.random_lora_case(5, torch.float32)
    ours, plain = (check.lora_inputs(case, "cpu") for _ in range(2))
    kernels.lora_add(ours.x, ours.y, ours.a, ours.b, ours.slots, ours.weights, ours.ranks)
    reference.lora_add(plain.x, plain.y, plain.a, plain.b, plain.slots, plain.weights, plain.ranks)
    assert torch.equal(ours.y, plain.y)


def test_reference_follows_the_formula() -> None:
    """y + 0.5 * B A x for one row, by hand: A x = 3, B = (1, 2), so 1.5 and 3 are added; row 1 has no adapter."""
    x, y = torch.tensor([[1.0, 2.0], [5.0, 5.0]]), torch.tensor([[10.0, 20.0], [30.0, 40.0]])
    a, b = torch.ones((1, 1, 1, 2)), [torch.tensor([[[1.0], [2.0]]])]
    slots, weights = torch.tensor([[0], [-1]], dtype=torch.int32), torch.full((2, 1), 0.5)
    reference.lora_add(x, y, a, b, slots, weights, torch.ones(1, dtype=torch.int32))
    assert y.tolist() == [[11.5, 23.0], [30.0, 40.0]]


def test_attention_reference_equals_torch_on_contiguous_keys() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn((1, 4, 6, 8), generator=generator) for _ in range(3))
    want = torch.nn.functional.scaled_dot_product_attention(q[:, :, -1:], k, v)
    stores = [part[0].transpose(0, 1).reshape(3, 2, 4, 8) for part in (k, v)]
    got = kernels.paged_decode(
        q[:, :, -1],
        *stores,
        torch.arange(3, dtype=torch.int32)[None],
        torch.tensor([6], dtype=torch.int32),
        8**-0.5,
    )
    torch.testing.assert_close(got, want[:, :, 0])


def test_tiles_of_a_mixed_step_hold_one_slot_each() -> None:
    slots = np.array([[2], [0], [-1], *[[1]] * 70], dtype=np.int32)
    (tiles,) = kernels.make_tiles(slots, torch.device("cpu"))
    assert tiles.slots.tolist() == [0, 1, 1, 1, 2]
    assert tiles.rows[0, 0] == 1
    assert tiles.rows[4, 0] == 0
    assert sorted(row for row in tiles.rows[1:4].flatten().tolist() if row >= 0) == list(range(3, 73))
