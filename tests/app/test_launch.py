"""Background runs: arguments, names, the lock that says that a job lives, logs."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from models.errors import InputError
from sim.dashboard import launch
from sim.dashboard.launch import Job, Request
from sim.results.manifest import MANIFEST


def wait(folder: Path, name: str, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while launch.is_running(folder, name):
        assert time.monotonic() < until, "the job does not end"
        time.sleep(0.05)


def test_arguments_are_those_of_the_command_line(tmp_path: Path) -> None:
    request = Request(Path("scenarios/baseline.yaml"), 4, 400, 420, chain=False)
    shown = "--runs 4 --agents 400 --days 420 --chain off"
    expected = ["run", "scenarios/baseline.yaml", "--out", str(tmp_path / "a"), *shown.split()]
    assert request.arguments(tmp_path / "a") == expected
    assert Request(Path("b.yaml")).arguments(tmp_path / "a")[-2:] == ["--chain", "on"]


def test_a_directory_that_is_there_is_continued(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text("{}", encoding="utf-8")
    assert Request(Path("b.yaml")).arguments(tmp_path)[-1] == "--resume"


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a b", "x" * 101])
def test_a_name_that_is_no_plain_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no plain name"):
        launch.start(Request(Path("b.yaml")), name, tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_job_runs_as_long_as_its_log_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "PROGRAM", (sys.executable, "-c", "import time; time.sleep(60)"))
    assert not launch.is_running(tmp_path, "a")
    job = launch.start(Request(Path("b.yaml")), "a", tmp_path)
    assert launch.is_running(tmp_path, "a")
    assert launch.jobs(tmp_path) == [job]
    with pytest.raises(InputError, match="being computed already"):
        launch.start(Request(Path("b.yaml")), "a", tmp_path)
    launch.forget(tmp_path, job)
    assert launch.jobs(tmp_path) == [job]
    launch.stop(tmp_path, job)
    wait(tmp_path, "a")
    launch.forget(tmp_path, job)
    assert launch.jobs(tmp_path) == []
    launch.stop(tmp_path, job)  # harmless: nobody holds the lock


def test_what_the_command_says_is_kept_without_lines_of_progress(tmp_path: Path) -> None:
    job = launch.start(Request(tmp_path / "gone.yaml"), "a", tmp_path)
    wait(tmp_path, "a")
    said = launch.messages(tmp_path, job)
    assert len(said) == 1
    assert "gone.yaml" in said[0]
    log = tmp_path / ".jobs" / "a.log"
    log.write_text("simulating 10 %, 3 s 0:27 left\nolsim stopped: out of luck\n", encoding="utf-8")
    assert launch.messages(tmp_path, job) == ["olsim stopped: out of luck"]


def test_a_damaged_note_is_left_out(tmp_path: Path) -> None:
    notes = tmp_path / ".jobs"
    notes.mkdir()
    (notes / "a.json").write_text("{", encoding="utf-8")
    (notes / "b.json").write_text(
        '{"name": "b", "process": 1, "command": "olsim run b.yaml"}', encoding="utf-8"
    )
    assert launch.jobs(tmp_path) == [Job("b", 1, "olsim run b.yaml")]
