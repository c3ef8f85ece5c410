"""A full disk: the file is named, what had landed stays, and the run goes on when there is room."""

from __future__ import annotations

import errno
import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import split_runs as split

from models.errors import InputError
from sim.experiment.failures import DiskFull, disk_named
from sim.results.naming import naming

RUNS = 24


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size: the system refuses as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
class TestLimit:
    def test_nothing_had_landed_and_nothing_is_left(self, tmp_path: Path) -> None:
        with (
            largest_file(9_000),
            pytest.raises(DiskFull, match=r"File too large; what has landed is kept") as full,
        ):
            split.computed(split.tiny(RUNS), tmp_path / "run", block=12)
        assert str(tmp_path / "run") in str(full.value)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("workers", [1, 2])
    def test_what_landed_is_kept_and_resumed(self, tmp_path: Path, workers: int) -> None:
        """Units fit, the assembled table does not."""
        out, economy = tmp_path / "run", split.tiny(RUNS)
        whole = split.computed(economy, tmp_path / "whole", block=3)
        size = (tmp_path / "whole" / "metrics.parquet").stat().st_size
        how = {"block": 3, "workers": workers, "backend": "threading"}
        with largest_file(size - 1), pytest.raises(DiskFull) as full:
            split.computed(economy, out, **how)
        assert f"{out}" in str(full.value)
        assert "continue with --resume" in str(full.value)
        assert len(list((out / "parts").iterdir())) == 11
        assert not list(out.glob(".*.part"))
        assert split.computed(economy, out, resume=True, **how).manifest.files == whole.manifest.files


PROGRAM = """
import json, os, subprocess, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import split_runs as split
from models.errors import InputError

disk, other = Path(sys.argv[2]), Path(sys.argv[3])
economy, units = split.tiny(24), 11
told = []

def attempt(kib):
    subprocess.run(["mount", "-o", f"remount,size={kib}k", str(disk)], check=True)
    try:
        split.computed(economy, disk / "run", resume=True, block=3)
        told.append(["complete", 0])
    except InputError as error:
        told.append([str(error), len(list((disk / "run" / "parts").glob("[!.]*")))])

attempt(100)
attempt(500)
room = os.statvfs(disk)
attempt((room.f_blocks - room.f_bfree) * room.f_frsize * units // told[-1][1] // 1000)  # units fit, tables do not
attempt(65536)
whole = split.computed(economy, other / "whole", block=16)
print(json.dumps({"told": told, "same": split.files(disk / "run") == whole.manifest.files}))
"""


def may_mount() -> bool:
    """Whether this user may mount a file system of memory in a namespace of its own."""
    if shutil.which("unshare") is None:
        return False
    tried = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(tried, check=False, capture_output=True).returncode == 0


@pytest.mark.slow
def test_a_file_system_that_is_full(tmp_path: Path) -> None:
    """First there is no room for a unit, then for some of them, then for the tables, then enough."""
    if not may_mount():
        pytest.skip("mounting a tmpfs in a user namespace is not allowed here")
    disk = tmp_path / "disk"
    disk.mkdir()
    folder = str(Path(__file__).parent)
    script = f'mount -t tmpfs -o size=64k none {disk} && exec "$@"'
    program = [sys.executable, "-c", PROGRAM, folder, str(disk), str(tmp_path)]
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", *program]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (no_unit, none), (some_units, some), (no_tables, all_units), (complete, _) = found["told"]
    assert (none, all_units, complete) == (0, 11, "complete")
    assert 0 < some < 11
    assert f"{disk}/run/parts/base-000000-000000/" in no_unit
    assert f"{disk}/run/parts/" in some_units
    assert f"{disk}/run/." in no_tables
    for text in (no_unit, some_units, no_tables):
        assert text.endswith(
            "No space left on device; what has landed is kept: make room and continue with --resume"
        )
    assert found["same"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_the_system_says_which_file(tmp_path: Path, number: int) -> None:
    with (
        pytest.raises(DiskFull, match=r"^/a/b: no room; what has landed is kept: make room and continue"),
        disk_named(tmp_path),
    ):
        raise OSError(number, "no room", "/a/b")


def test_a_library_says_only_the_number(tmp_path: Path) -> None:
    with pytest.raises(DiskFull, match=str(tmp_path / "x")), disk_named(tmp_path), naming(tmp_path / "x"):
        raise RuntimeError("No space left on device (os error 28)")


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "denied", "x"), RuntimeError("x"), InputError("x")])
def test_other_errors_go_through(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as raised, disk_named(tmp_path):
        raise error
    assert raised.value is error
