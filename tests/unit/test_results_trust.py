"""Damaged and foreign shards: named with their file, set aside, computed again, never used."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from models.errors import InputError
from sim.results import load_run
from sim.results.assembly import assemble
from sim.results.directory import FINAL_TABLES
from sim.results.manifest import Manifest
from sim.results.origin import Origin, code_difference
from sim.results.shards import BASE, encode, land
from sim.results.trust import computed, set_aside_untrusted

sys.path.insert(0, str(Path(__file__).parent))
import synthetic_runs as toy

DAYS = 40
UNIT = "base-000001-000002"


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x01
    path.write_bytes(bytes(content))


def other_columns(path: Path) -> None:
    pl.DataFrame({"run": [1, 2], "day": [0, 0]}).write_parquet(path)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def removed(path: Path) -> None:
    path.unlink()


DAMAGES = [truncated, flipped, other_columns, emptied, removed]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Three runs have landed in two units; nothing is assembled."""
    made = tmp_path / "run"
    made.mkdir()
    toy.side_files(made)
    toy.land(made, BASE, toy.batch([0], DAYS, witness=True))
    toy.land(made, BASE, toy.batch([1, 2], DAYS))
    toy.manifest(3, DAYS).write(made)
    return made


def set_aside(directory: Path) -> list[str]:
    return set_aside_untrusted(directory, Manifest.read(directory), Origin.of(toy.manifest(3, DAYS)))


def test_sound_units_stay(directory: Path) -> None:
    assert set_aside(directory) == []
    assert computed(directory) == {BASE: {0, 1, 2}}
    assert not (directory / "aside").exists()


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["metrics.parquet", "usd.parquet", "unit.json"])
def test_a_damaged_unit_is_set_aside(directory: Path, file: str, damage: Callable[[Path], None]) -> None:
    path = directory / "parts" / UNIT / file
    damage(path)
    (told,) = set_aside(directory)
    assert str(path) in told
    assert told.endswith(f"set aside as {directory / 'aside' / UNIT}, its runs are computed again")
    assert (directory / "aside" / UNIT).is_dir()
    assert computed(directory) == {BASE: {0}}
    toy.land(directory, BASE, toy.batch([1, 2], DAYS))
    assert set_aside(directory) == []
    again = assemble(directory, toy.manifest(3, DAYS), toy.unlocks(DAYS))
    assert again.files == sound_files(directory.with_name("sound"))


def sound_files(directory: Path) -> dict[str, str]:
    directory.mkdir()
    toy.side_files(directory)
    toy.land(directory, BASE, toy.batch([0], DAYS, witness=True))
    toy.land(directory, BASE, toy.batch([1, 2], DAYS))
    return assemble(directory, toy.manifest(3, DAYS), toy.unlocks(DAYS)).files


def test_a_changed_fact_is_noticed(directory: Path) -> None:
    path = directory / "parts" / UNIT / "unit.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "residual_gwei": 1}))
    assert set_aside(directory)[0].startswith(f"{path}: its text is not what was written")


def test_a_unit_under_another_name(directory: Path) -> None:
    (directory / "parts" / UNIT).rename(directory / "parts" / "base-000003-000004")
    assert f"describes the unit {UNIT}" in set_aside(directory)[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"code_version": "d" * 64}, "code version dddddddddddd, not "),
        ({"packages": {"numpy": "1"}}, "numpy 1, not 2"),
        ({"world_sha256": "e" * 64}, "world eeeeeeeeeeee, not bbbbbbbbbbbb"),
        ({"seed": 8}, "seed 8, not 7"),
    ],
)
def test_a_unit_of_another_version(directory: Path, change: dict[str, object], said: str) -> None:
    origin = replace(Origin.of(toy.manifest(3, DAYS)), **change)
    land(directory, encode(BASE, toy.batch([3, 4], DAYS), toy.START, 1.0, origin))
    (told,) = set_aside(directory)
    assert told.startswith(
        f"{directory / 'parts' / 'base-000003-000004'}: computed by another version ({said}"
    )
    assert computed(directory) == {BASE: {0, 1, 2}}


def test_nothing_that_was_set_aside_is_lost(directory: Path) -> None:
    for _ in range(2):
        flipped(directory / "parts" / UNIT / "metrics.parquet")
        set_aside(directory)
        toy.land(directory, BASE, toy.batch([1, 2], DAYS))
    assert sorted(path.name for path in (directory / "aside").iterdir()) == [UNIT, f"{UNIT}.2"]


def test_damage_between_landing_and_assembly(directory: Path) -> None:
    path = directory / "parts" / UNIT / "metrics.parquet"
    flipped(path)
    with pytest.raises(InputError, match="--resume sets it aside") as refused:
        assemble(directory, toy.manifest(3, DAYS), toy.unlocks(DAYS))
    assert str(path) in str(refused.value)
    assert not list(directory.glob("*.parquet"))
    assert not list(directory.glob(".*.part"))


class TestFinalTables:
    def test_a_damaged_one_takes_the_others_with_it(self, tmp_path: Path) -> None:
        made = toy.run_directory(tmp_path / "run", runs=3, days=DAYS)
        sound = Manifest.read(made).files
        flipped(made / "groups.parquet")
        (told,) = set_aside(made)
        assert told.startswith(f"{made / 'groups.parquet'}: its bytes are not those of the manifest")
        assert computed(made) == {BASE: set(), "no_unlock": {0, 1}}
        toy.land(made, BASE, toy.batch([0], DAYS, witness=True))
        toy.land(made, BASE, toy.batch([1, 2], DAYS))
        assert assemble(made, toy.manifest(3, DAYS), toy.unlocks(DAYS)).files == sound
        assert load_run(made).groups["run"].n_unique() == 3

    def test_a_damaged_table_of_twins(self, tmp_path: Path) -> None:
        made = toy.run_directory(tmp_path / "run", runs=3, days=DAYS)
        truncated(made / "twins.parquet")
        set_aside(made)
        assert computed(made) == {BASE: {0, 1, 2}}

    @pytest.mark.parametrize("renamed", range(len(FINAL_TABLES)))
    def test_an_assembly_that_stops_between_two_renames(
        self, tmp_path: Path, renamed: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The manifest knows the tables before and after, so neither kind is taken for damaged."""
        made = toy.run_directory(tmp_path / "run", runs=3, days=DAYS)
        toy.land(made, BASE, toy.batch([3, 4], DAYS))
        real, left = Path.replace, [renamed]

        def stops(path: Path, target: Path) -> Path:
            if Path(target).suffix == ".parquet":
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
            return real(path, target)

        running = toy.manifest(5, DAYS).model_copy(update={"files": Manifest.read(made).files})
        monkeypatch.setattr(Path, "replace", stops)
        with pytest.raises(KeyboardInterrupt):
            assemble(made, running, toy.unlocks(DAYS))
        monkeypatch.undo()
        assert set_aside(made) == []
        assert computed(made) == {BASE: set(range(5)), "no_unlock": {0, 1}}
        again = assemble(made, toy.manifest(5, DAYS), toy.unlocks(DAYS))
        full = toy.run_directory(tmp_path / "full", runs=5, days=DAYS)
        assert again.files == Manifest.read(full).files


def test_differences_name_both_values() -> None:
    told = code_difference("a" * 64, {"numpy": "1", "old": "3"}, "b" * 64, {"numpy": "2"})
    assert told == ["code version aaaaaaaaaaaa, not bbbbbbbbbbbb", "numpy 1, not 2", "old 3, not unknown"]
