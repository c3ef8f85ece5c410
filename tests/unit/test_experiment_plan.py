"""Experiments: plans, statistics and progress."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.experiment.plan import MOST, default_block, missing_runs, plan
from sim.experiment.progress import Progress, ProgressFile, Reporter, read_progress, watching
from sim.experiment.screen import bar, time_left
from sim.experiment.statistics import bands, mean_interval, paired_difference, spread, student_t
from sim.results.shards import BASE

sys.path.insert(0, str(Path(__file__).parent))
import synthetic_runs as toy

pytestmark = pytest.mark.slow


class TestPlan:
    @given(
        count=st.integers(1, 90), twin_runs=st.integers(0, 40), witness=st.integers(0, 95),
        have=st.sets(st.integers(0, 89)), workers=st.integers(1, 9), block=st.integers(1, 70),
    )  # fmt: skip
    def test_every_missing_run_once(
        self, count: int, twin_runs: int, witness: int, have: set[int], workers: int, block: int
    ) -> None:
        missing = missing_runs(count, ["a", "b"], twin_runs, {BASE: have, "a": have})
        units = plan(missing, witness, workers, block)
        by_arm = {
            arm: [run for unit in units if unit.arm == arm for run in unit.runs] for arm in (BASE, "a", "b")
        }
        assert sorted(by_arm[BASE]) == [run for run in range(count) if run not in have]
        assert sorted(by_arm["a"]) == [run for run in range(twin_runs) if run not in have]
        assert sorted(by_arm["b"]) == list(range(twin_runs))
        assert all(len(unit.runs) <= block for unit in units)
        assert len({unit.name for unit in units}) == len(units)
        assert [unit.runs for unit in units if unit.witness] == (
            [(witness,)] if witness in by_arm[BASE] else []
        )

    def test_the_witness_run_comes_first_and_alone(self) -> None:
        units = plan({BASE: range(64)}, 5, 2, 16)
        assert units[0].runs == (5,)
        assert [len(unit.runs) for unit in units] == [1, 16, 16, 16, 15]

    def test_few_runs_are_shared_among_workers(self) -> None:
        units = plan({BASE: range(5)}, 0, 4, 64)
        assert [unit.runs for unit in units] == [(0,), (1,), (2,), (3,), (4,)]

    def test_no_worker_idles_in_the_last_round(self) -> None:
        assert [len(unit.runs) for unit in plan({BASE: range(130)}, 999, 2, 64)] == [33, 33, 32, 32]

    @pytest.mark.parametrize(
        ("agents", "days", "runs"),
        [(10, 365, MOST), (20_000, 365, 256), (10_000, 1_461, 512), (10**6, 1_461, 5), (10**7, 10, 1)],
    )
    def test_a_block_by_agents_and_memory(self, agents: int, days: int, runs: int) -> None:
        assert default_block(agents, days) == runs

    def test_a_small_memory_makes_small_blocks(self) -> None:
        assert 4 <= default_block(10_000, 1_461, 64 * 2**20) <= 12
        assert default_block(10_000, 1_461, 1) == 1


class TestStatistics:
    def test_bands_by_hand(self) -> None:
        frame = pl.DataFrame(
            {"day": [0] * 5 + [1] * 5, "date": [toy.START] * 10, "x": [0, 1, 2, 3, 4, *[None] * 4, 9]}
        )
        band = bands(frame, "x", (0, 50, 75))
        assert band.drop("date").rows() == [(0, 5, 0.0, 2.0, 3.0), (1, 1, 9.0, 9.0, 9.0)]

    def test_bands_leave_out_days_without_values(self) -> None:
        frame = pl.DataFrame({"day": [0, 1], "date": [toy.START] * 2, "x": [None, 1.0]})
        assert bands(frame, "x")["day"].to_list() == [1]

    @pytest.mark.parametrize(
        ("freedom", "quantile"), [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (10, 2.228), (63, 1.998)]
    )
    def test_student_t_against_tables(self, freedom: int, quantile: float) -> None:
        assert student_t(0.975, freedom) == pytest.approx(quantile, abs=5e-4)

    def test_one_value_has_no_interval(self) -> None:
        interval = mean_interval([3.0, math.nan])
        assert (interval.mean, interval.n) == (3.0, 1)
        assert math.isnan(interval.low)

    def test_a_level_out_of_range(self) -> None:
        with pytest.raises(ValueError, match="level is 95; allowed between 0 and 1"):
            mean_interval([1.0, 2.0], level=95)

    def test_nothing_known(self) -> None:
        assert not spread([math.nan]).known

    def test_differences_pair_runs(self) -> None:
        base = pl.DataFrame({"run": [2, 0, 1], "day": [3] * 3, "x": [20.0, 0.0, 10.0]})
        other = pl.DataFrame({"run": [1, 2], "day": [3, 3], "x": [4.0, None]})
        difference = paired_difference(base, other, "x", 3)
        assert difference[0] == 6.0
        assert math.isnan(difference[1])


class TestProgress:
    def test_fraction_is_weighted(self, tmp_path: Path) -> None:
        reporter = Reporter(ProgressFile(tmp_path, 0.0))
        reporter.write(total=10, stage="simulating")
        reporter.day("a", 6, 99, 99)
        reporter.day("b", 4, 49, 99)
        assert read_progress(tmp_path).fraction == pytest.approx(0.6)  # b's line came too soon after a's
        reporter.last = -math.inf
        reporter.day("b", 4, 49, 99)
        assert read_progress(tmp_path).fraction == pytest.approx(0.8)

    def test_a_resumed_computation_begins_at_nothing(self, tmp_path: Path) -> None:
        reporter = Reporter(ProgressFile(tmp_path, 0.0))
        reporter.write(total=10, stage="simulating")
        reporter.day("a", 6, 99, 99)
        with (tmp_path / "progress.jsonl").open("a") as file:
            file.write('{"unit": "b", "wei')  # killed within a line
        reporter.write(total=4, stage="simulating")
        assert read_progress(tmp_path).fraction == 0.0

    def test_nothing_written_yet(self, tmp_path: Path) -> None:
        assert read_progress(tmp_path) == Progress()
        assert Progress().remaining_s is None

    def test_notes_are_said_once(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        ProgressFile(tmp_path, 0.0)({"total": 1, "stage": "simulating", "notes": ["a shard was set aside"]})
        with bar() as tell:
            tell(read_progress(tmp_path))
            tell(read_progress(tmp_path))
        assert capsys.readouterr().err.count("a shard was set aside\n") == 1

    def test_the_end_is_told(self, tmp_path: Path) -> None:
        told: list[Progress] = []
        with watching(tmp_path, told.append):
            Reporter(ProgressFile(tmp_path, 0.0)).write(stage="complete")
        assert told[-1].fraction == 1.0
        assert time_left(told[-1]) == ""

    def test_lines_where_there_is_no_terminal(self, capsys: pytest.CaptureFixture[str]) -> None:
        with bar() as tell:
            tell(Progress(0.25, "simulating", 30.0))
            tell(Progress(0.26, "simulating", 31.0))
            tell(Progress(1.0, "complete", 40.0))
        captured = capsys.readouterr()
        assert captured.err == "simulating 25 %, 30 s 1:30 left\ncomplete 100 %, 40 s\n"
        assert captured.out == ""
