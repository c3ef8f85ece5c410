"""SIGKILL at any moment: the resumed directory is, byte for byte, the one that was never killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import split_runs as split

from models.errors import InputError
from sim.experiment.failures import WorkerLost

pytestmark = pytest.mark.slow

KILLS = 24
FOLDER = Path(__file__).parent


def test_killed_at_random_moments(tmp_path: Path) -> None:
    """In one process and on two threads, new and extended; each moment is random, and some kill the resumed run too."""
    program = [sys.executable, str(FOLDER / "killed_runs.py"), str(tmp_path), str(KILLS), "20"]
    done = subprocess.run(program, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] >= KILLS
    assert len(found["stages"]) >= 2, found
    assert found["wrong"] == [], found


LOKY = """
import sys
sys.path.insert(0, sys.argv[1])
import split_runs as split
from pathlib import Path

if __name__ == "__main__":
    split.computed(split.tiny(24, days=40), Path(sys.argv[2]), workers=2, backend="loky", block=2)
"""


def test_killed_with_processes(tmp_path: Path) -> None:
    """The main process dies while its workers live; they end, and what had landed is not computed again."""
    out, parts = tmp_path / "run", tmp_path / "run" / "parts"
    (tmp_path / "program.py").write_text(LOKY)
    program = subprocess.Popen([sys.executable, str(tmp_path / "program.py"), str(FOLDER), str(out)])
    while not list(parts.glob("base-*")):
        assert program.poll() is None
        time.sleep(0.01)
    program.send_signal(signal.SIGKILL)
    assert program.wait() == -signal.SIGKILL
    economy = split.tiny(24, days=40)
    with pytest.raises(InputError, match="holds a running run of 24 runs; add --resume"):
        split.computed(economy, out)
    resumed = split.computed(economy, out, resume=True)
    assert resumed.manifest.files == split.computed(economy, tmp_path / "whole").manifest.files


WORKER_DIES = """
import os, sys
sys.path.insert(0, sys.argv[1])
import split_runs as split
from dataclasses import dataclass
from pathlib import Path
from sim.experiment import execute
from sim.experiment.failures import WorkerLost
from sim.experiment.worker import Job, compute_here

def dies(directory, job):
    if 9 in job.unit.runs:
        os.kill(os.getpid(), 9)
    compute_here(directory, job)

if __name__ == "__main__":
    execute.compute_here = dies
    try:
        split.computed(split.tiny(12), Path(sys.argv[2]), workers=2, backend="loky", block=1)
    except WorkerLost as lost:
        print(lost)
"""


def test_a_worker_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(WORKER_DIES)
    out = tmp_path / "run"
    program = [sys.executable, str(tmp_path / "program.py"), str(FOLDER), str(out)]
    done = subprocess.run(program, check=False, capture_output=True, text=True)
    assert done.stdout.startswith("a worker process was killed"), done.stderr
    assert "continue with --resume" in done.stdout
    assert WorkerLost.__doc__
    resumed = split.computed(split.tiny(12), out, resume=True)
    assert resumed.manifest.files == split.computed(split.tiny(12), tmp_path / "whole").manifest.files
