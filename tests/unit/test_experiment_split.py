"""However an experiment is split, its tables are the same bytes: blocks, workers, backends, extension."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import split_runs as split

from sim.results import Run

pytestmark = pytest.mark.slow

RUNS = 66


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """In this process, 16 runs at a time."""
    return split.computed(split.tiny(RUNS), tmp_path_factory.mktemp("split") / "whole")


@pytest.mark.parametrize(
    "how",
    [
        {"block": 1},
        {"block": 64},
        {"block": None},
        {"block": 16, "workers": 2, "backend": "threading"},
        {"block": 7, "workers": 2, "backend": "loky"},
        {"block": 64, "workers": 2},
    ],
    ids=str,
)
def test_blocks_workers_and_backends_change_no_byte(whole: Run, tmp_path: Path, how: dict[str, Any]) -> None:
    other = split.computed(split.tiny(RUNS), tmp_path / "other", **how)
    assert other.metrics.equals(whole.metrics)
    assert other.manifest.files == whole.manifest.files


def test_the_runs_differ_from_one_another(whole: Run) -> None:
    last = whole.metrics.filter(pl.col("day") == split.DAYS)
    assert last["run"].to_list() == list(range(RUNS))
    assert last["price_usd"].n_unique() == RUNS


def test_100_runs_extended_to_200_are_200_at_once(tmp_path: Path) -> None:
    split.computed(split.tiny(100), tmp_path / "grown", block=64)
    before = (tmp_path / "grown" / "metrics.parquet").read_bytes()
    grown = split.computed(split.tiny(200), tmp_path / "grown", block=48, resume=True)
    at_once = split.computed(split.tiny(200), tmp_path / "at_once", block=64)
    assert grown.metrics.equals(at_once.metrics)
    assert grown.manifest.files == at_once.manifest.files
    old = pl.read_parquet(before)
    assert grown.metrics.filter(pl.col("run") < 100).equals(old)


def test_an_extension_computes_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sim import engine

    split.computed(split.tiny(5), tmp_path / "grown")
    asked: list[int] = []
    real = engine.run_batch
    monkeypatch.setattr(
        engine, "run_batch", lambda economy, runs, **how: asked.extend(runs) or real(economy, runs, **how)
    )
    split.computed(split.tiny(8), tmp_path / "grown", resume=True)
    assert sorted(map(int, asked)) == [5, 6, 7]
