"""The run directory: same bytes, resume, extension, locks and damage."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.errors import InputError
from sim.batch import TABLES, BatchResult
from sim.observables import OBSERVABLES
from sim.results import load_run
from sim.results.assembly import assemble
from sim.results.directory import FINAL_TABLES, directory_name, open_directory
from sim.results.lock import writing
from sim.results.manifest import Manifest
from sim.results.shards import BASE, landed
from sim.results.trust import computed

sys.path.insert(0, str(Path(__file__).parent))
import synthetic_runs as toy

DAYS = 40


def land_base(directory: Path, *blocks: list[int]) -> None:
    directory.mkdir(exist_ok=True)
    toy.side_files(directory)
    for block in blocks:
        toy.land(directory, BASE, toy.batch(block, DAYS, witness=block == [0]))


def assembled(directory: Path, *blocks: list[int], runs: int) -> Manifest:
    land_base(directory, *blocks)
    for block in blocks:
        if 0 in block:
            toy.land(directory, "no_unlock", toy.batch([0, 1], DAYS, shift=-0.5))
    return assemble(directory, toy.manifest(runs, DAYS), toy.unlocks(DAYS))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    run = load_run(toy.run_directory(tmp_path / "run", runs=3, days=DAYS))
    assert run.metrics.columns == ["run", "day", "date", *(o.name for o in OBSERVABLES)]
    assert run.metrics.height == 3 * (DAYS + 1)
    assert run.metrics.select("run", "day").rows() == [(r, d) for r in range(3) for d in range(DAYS + 1)]
    assert run.metrics["date"][DAYS] == toy.START.fromordinal(toy.START.toordinal() + DAYS)
    assert run.metrics["price_usd"].unique().sort().to_list() == [1.0, 2.0, 3.0]
    assert run.metrics[toy.NULL].null_count() == run.metrics.height
    assert not any(run.metrics[o.name].is_nan().any() for o in OBSERVABLES if not o.name.endswith("_gwei"))
    assert run.metrics["treasury_gwei"].dtype == pl.Int64
    assert run.chain["chain_wei"].dtype == pl.Decimal(38, 0)
    assert run.chain["chain_wei"].to_list() == [10**27]
    assert run.flows["run"].unique().to_list() == [0]
    assert run.twins["twin"].unique().to_list() == ["no_unlock"]
    assert run.twins["price_usd"].unique().sort().to_list() == [0.5, 1.5]
    assert run.manifest.status == "complete"
    assert run.manifest.reconciled
    assert not (run.directory / "parts").exists()


def test_blocks_do_not_change_a_byte(tmp_path: Path) -> None:
    one = assembled(tmp_path / "one", [0], [1, 2, 3, 4], runs=5)
    two = assembled(tmp_path / "two", [3, 4], [0], [1, 2], runs=5)
    assert one.files == two.files
    for name in FINAL_TABLES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_parquet_carries_units_and_world(tmp_path: Path) -> None:
    toy.run_directory(tmp_path / "run", runs=2, days=DAYS)
    metadata = pl.read_parquet_metadata(tmp_path / "run" / "metrics.parquet")
    assert metadata["olsim.world_sha256"] == "b" * 64
    assert json.loads(metadata["olsim.units"])["price_usd"] == "USD"


def test_an_extended_directory_equals_one_run_in_full(tmp_path: Path) -> None:
    assembled(tmp_path / "grown", [0], [1, 2], runs=3)
    land_base(tmp_path / "grown", [3, 4])
    grown = assemble(tmp_path / "grown", toy.manifest(5, DAYS), toy.unlocks(DAYS))
    full = assembled(tmp_path / "full", [0], [1, 2, 3, 4], runs=5)
    assert grown.files == full.files


def test_an_interrupted_assembly_is_repeated_to_the_same_bytes(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    land_base(directory, [0], [1, 2])
    toy.land(directory, "no_unlock", toy.batch([0, 1], DAYS, shift=-0.5))
    first = pl.read_parquet(directory / "parts" / "base-000001-000002" / "metrics.parquet")
    first.write_parquet(directory / "metrics.parquet")  # an assembly that was killed after half a table
    again = assemble(directory, toy.manifest(3, DAYS), toy.unlocks(DAYS))
    full = assembled(tmp_path / "full", [0], [1, 2], runs=3)
    assert again.files == full.files


def test_units_in_flight_are_not_landed(tmp_path: Path) -> None:
    land_base(tmp_path / "run", [0], [1, 2])
    half = tmp_path / "run" / "parts" / ".base-000003-000004.part"
    half.mkdir()
    (half / "unit.json").write_text("{}")
    assert [unit.runs for unit in landed(tmp_path / "run").values()] == [(0,), (1, 2)]
    assert computed(tmp_path / "run") == {BASE: {0, 1, 2}}


def test_a_unit_that_lands_twice_stays_as_it_was(tmp_path: Path) -> None:
    land_base(tmp_path / "run", [0])
    before = (tmp_path / "run" / "parts" / "base-000000-000000" / "unit.json").stat().st_ino
    toy.land(tmp_path / "run", BASE, toy.batch([0], DAYS, witness=True), 9.0)
    assert (tmp_path / "run" / "parts" / "base-000000-000000" / "unit.json").stat().st_ino == before
    assert [path.name for path in (tmp_path / "run" / "parts").iterdir()] == ["base-000000-000000"]


def test_computed_counts_final_tables_and_shards(tmp_path: Path) -> None:
    toy.run_directory(tmp_path / "run", runs=3, days=DAYS)
    land_base(tmp_path / "run", [3])
    assert computed(tmp_path / "run") == {BASE: {0, 1, 2, 3}, "no_unlock": {0, 1}}


class TestOpening:
    def test_a_new_directory(self, tmp_path: Path) -> None:
        assert open_directory(tmp_path / "none", toy.manifest(3), resume=False) is None

    def test_the_same_run_is_there(self, tmp_path: Path) -> None:
        toy.run_directory(tmp_path / "run", runs=3, days=DAYS)
        there = open_directory(tmp_path / "run", toy.manifest(3, DAYS), resume=False)
        assert there is not None
        assert there.status == "complete"

    def test_extending_must_be_asked_for(self, tmp_path: Path) -> None:
        toy.run_directory(tmp_path / "run", runs=3, days=DAYS)
        with pytest.raises(InputError, match="complete run of 3 runs; add --resume to extend it to 5 runs"):
            open_directory(tmp_path / "run", toy.manifest(5, DAYS), resume=False)
        assert open_directory(tmp_path / "run", toy.manifest(5, DAYS), resume=True) is not None

    def test_fewer_runs_are_refused(self, tmp_path: Path) -> None:
        toy.run_directory(tmp_path / "run", runs=3, days=DAYS)
        with pytest.raises(InputError, match="holds 3 runs, more than the 2 asked for"):
            open_directory(tmp_path / "run", toy.manifest(2, DAYS), resume=True)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"seed": 8}, "seed 7 there, 8 now"),
            ({"code_version": "d" * 64}, "code version .* now"),
            ({"world_sha256": "e" * 64}, "scenario bbbbbbbbbbbb there, eeeeeeeeeeee now"),
        ],
    )
    def test_another_run_is_refused(self, tmp_path: Path, change: dict[str, object], said: str) -> None:
        toy.run_directory(tmp_path / "run", runs=3, days=DAYS)
        before = (tmp_path / "run" / "manifest.json").read_bytes()
        with pytest.raises(InputError, match=said):
            open_directory(tmp_path / "run", toy.manifest(3, DAYS, **change), resume=True)
        assert (tmp_path / "run" / "manifest.json").read_bytes() == before

    def test_a_folder_of_something_else_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(InputError, match="no run directory"):
            open_directory(tmp_path, toy.manifest(3), resume=True)


class TestReading:
    def test_no_directory(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such run directory"):
            load_run(tmp_path / "none")

    def test_another_version(self, tmp_path: Path) -> None:
        directory = toy.run_directory(tmp_path / "run", runs=2, days=DAYS)
        data = json.loads((directory / "manifest.json").read_text())
        (directory / "manifest.json").write_text(json.dumps({**data, "schema": 99}))
        with pytest.raises(InputError, match="layout version 99 of another version"):
            load_run(directory)

    @pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": 1, "status": "complete"}'])
    def test_a_damaged_manifest(self, tmp_path: Path, text: str) -> None:
        directory = toy.run_directory(tmp_path / "run", runs=2, days=DAYS)
        (directory / "manifest.json").write_text(text)
        with pytest.raises(InputError, match=r"manifest\.json"):
            load_run(directory)

    def test_an_unfinished_run(self, tmp_path: Path) -> None:
        directory = toy.run_directory(tmp_path / "run", runs=2, days=DAYS)
        Manifest.read(directory).model_copy(update={"status": "failed", "failure": "identity 1"}).write(
            directory
        )
        with pytest.raises(InputError, match=r"the run is failed: identity 1; continue it with .*--resume"):
            load_run(directory)

    @pytest.mark.parametrize("table", ["metrics", "flows", "twins", "unlocks"])
    def test_a_truncated_table(self, tmp_path: Path, table: str) -> None:
        directory = toy.run_directory(tmp_path / "run", runs=2, days=DAYS)
        path = directory / f"{table}.parquet"
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(InputError, match=rf"{table}\.parquet: not a readable table"):
            getattr(load_run(directory), table)

    def test_a_flipped_byte(self, tmp_path: Path) -> None:
        directory = toy.run_directory(tmp_path / "run", runs=2, days=DAYS)
        path = directory / "metrics.parquet"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(bytes(content))
        with pytest.raises(InputError, match=r"metrics\.parquet: not a readable table"):
            _ = load_run(directory).metrics

    def test_a_missing_table(self, tmp_path: Path) -> None:
        directory = toy.run_directory(tmp_path / "run", runs=2, days=DAYS)
        (directory / "groups.parquet").unlink()
        with pytest.raises(InputError, match=r"lacks groups\.parquet"):
            load_run(directory)


class TestLock:
    def test_two_writers(self, tmp_path: Path) -> None:
        with (
            writing(tmp_path),
            pytest.raises(InputError, match=r"process \d+ is writing this run directory"),
            writing(tmp_path),
        ):
            pass
        assert not (tmp_path / "lock").exists()

    def test_the_lock_of_a_killed_process_is_taken_over(self, tmp_path: Path) -> None:
        program = (
            "import os, sys; from pathlib import Path; from sim.results.lock import writing\n"
            f"with writing(Path({str(tmp_path)!r})): os._exit(9)"
        )
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
        assert (tmp_path / "lock").exists()
        with writing(tmp_path):
            pass
        assert not (tmp_path / "lock").exists()


class TestBatchResult:
    def test_a_missing_observable(self) -> None:
        good = toy.batch([0], DAYS)
        metrics = {name: values for name, values in good.metrics.items() if name != "price_usd"}
        with pytest.raises(ValueError, match=r"metrics differ from the observables: .'price_usd'"):
            rebuilt(good, metrics=metrics)

    def test_a_float_amount(self) -> None:
        good = toy.batch([0], DAYS)
        metrics = {**good.metrics, "treasury_gwei": good.metrics["treasury_gwei"].astype(np.float64)}
        with pytest.raises(ValueError, match="metric 'treasury_gwei' is float64"):
            rebuilt(good, metrics=metrics)

    def test_a_missing_column(self) -> None:
        with pytest.raises(ValueError, match="table 'usd' lacks column micro_usd"):
            rebuilt(
                toy.batch([0], DAYS), usd={"run": [0], "month": [0], "class": ["users"], "purpose": ["x"]}
            )

    def test_columns_of_different_length(self) -> None:
        table = {name: [0] for name in TABLES["usd"]} | {"month": [0, 1]}
        with pytest.raises(ValueError, match="columns of table 'usd' differ in length"):
            rebuilt(toy.batch([0], DAYS), usd=table)


def rebuilt(good: BatchResult, **changes: object) -> BatchResult:
    names = ("runs", "metrics", *TABLES, "residual_gwei", "chain_summary")
    return BatchResult(**{**{name: getattr(good, name) for name in names}, **changes})


def test_the_default_name() -> None:
    assert directory_name("baseline", "0123456789abcdef" * 4) == "baseline-0123456789ab"
