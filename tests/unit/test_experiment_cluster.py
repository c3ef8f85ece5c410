"""A dask cluster: the same bytes, workers that differ, addresses where nobody is, and clusters that die."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import split_runs as split

from models.errors import InputError
from sim.experiment import cluster
from sim.experiment.execute import run_experiment
from sim.experiment.executors import check_backend
from sim.experiment.failures import CheckFailed, WorkerLost
from sim.experiment.progress import read_progress
from sim.experiment.worker import compute_away
from sim.results.code import code_version, package_versions, simd_level
from sim.results.origin import Origin

FOLDER = Path(__file__).parent


@pytest.mark.parametrize("error", [TimeoutError, ConnectionResetError])
def test_a_scheduler_that_ends_while_it_is_asked(error: type[Exception]) -> None:
    """It is not alive, which is said when it stays so; the answer that did not come is no failure of its own."""

    def sync(*_: object, **__: object) -> None:
        raise error("reset by peer")

    client = SimpleNamespace(status="running", sync=sync, scheduler=SimpleNamespace(ncores=None))
    assert not cluster.Cluster(client, "dask://host:8786", 1)._alive()  # type: ignore[arg-type]


class TestAddress:
    @pytest.mark.parametrize(
        "backend", ["auto", "loky", "threading", "dask://localhost:8786", "dask://[::1]:8786"]
    )
    def test_known(self, backend: str) -> None:
        check_backend(backend)

    @pytest.mark.parametrize(
        "backend",
        [
            "",
            "ray",
            "dask",
            "dask://",
            "dask://host",
            "dask://:8786",
            "dask://host:",
            "tcp://host:1",
            "dask://a/b:1",
        ],
    )
    def test_unknown(self, backend: str) -> None:
        with pytest.raises(InputError, match=r"expected auto, loky, threading or dask://HOST:PORT"):
            check_backend(backend)

    def test_no_port(self) -> None:
        with pytest.raises(InputError, match="port 70000 is out of range; allowed 1 to 65535"):
            check_backend("dask://host:70000")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.slow
class TestNobody:
    @pytest.fixture(autouse=True)
    def short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("distributed")
        monkeypatch.setattr(cluster, "CONNECT_S", 1.0)

    def test_no_scheduler(self, tmp_path: Path) -> None:
        port = free_port()
        with pytest.raises(
            InputError, match=rf"--backend dask://127.0.0.1:{port}: no dask scheduler answers there"
        ):
            split.computed(split.tiny(2), tmp_path / "run", backend=f"dask://127.0.0.1:{port}")
        assert list(tmp_path.iterdir()) == []

    def test_something_else_answers(self, tmp_path: Path) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            backend = f"dask://127.0.0.1:{other.getsockname()[1]}"
            with pytest.raises(InputError, match=f"--backend {backend}: no dask scheduler answers there"):
                split.computed(split.tiny(2), tmp_path / "run", backend=backend)
        assert list(tmp_path.iterdir()) == []

    def test_no_worker(self, tmp_path: Path) -> None:
        with (
            processes(workers=0) as (backend, _),
            pytest.raises(InputError, match="the cluster has no worker"),
        ):
            split.computed(split.tiny(2), tmp_path / "run", backend=backend)
        assert list(tmp_path.iterdir()) == []

    def test_an_existing_directory_is_left_as_it_was(self, tmp_path: Path) -> None:
        run = split.computed(split.tiny(2), tmp_path / "run")
        before = {path.name: path.read_bytes() for path in run.directory.iterdir()}
        with pytest.raises(InputError, match="no dask scheduler answers there"):
            split.computed(
                split.tiny(4), tmp_path / "run", resume=True, backend=f"dask://127.0.0.1:{free_port()}"
            )
        assert {path.name: path.read_bytes() for path in run.directory.iterdir()} == before


@pytest.fixture(scope="module")
def local() -> Iterator[str]:
    """A LocalCluster of two processes."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    ) as found:
        yield found.scheduler_address.replace("tcp://", "dask://")


@pytest.mark.slow
class TestLocalCluster:
    def test_the_same_bytes(self, local: str, tmp_path: Path) -> None:
        here = split.computed(split.tiny(40), tmp_path / "here")
        there = split.computed(split.tiny(40), tmp_path / "there", backend=local, block=7)
        assert there.metrics.equals(here.metrics)
        assert there.manifest.files == here.manifest.files
        progress = read_progress(tmp_path / "there")
        assert (progress.fraction, progress.stage) == (1.0, "complete")
        units = (tmp_path / "there" / "progress.jsonl").read_text().count('"unit"')
        assert units >= 9

    def test_extended_there(self, local: str, tmp_path: Path) -> None:
        split.computed(split.tiny(20), tmp_path / "grown")
        grown = split.computed(split.tiny(40), tmp_path / "grown", backend=local, resume=True)
        assert grown.manifest.files == split.computed(split.tiny(40), tmp_path / "whole").manifest.files

    def test_a_check_that_fails_there(self, local: str) -> None:
        def fails(unit: int) -> int:
            if unit == 2:
                raise CheckFailed("identity 7 broken on day 3")
            return unit

        origin = Origin(code_version(), package_versions(), "a" * 64, 7)
        with cluster.connect(local, origin) as executor:
            assert executor.workers == 2
            assert sorted(executor.map(fails, [0, 1])) == [0, 1]
            with pytest.raises(CheckFailed, match="identity 7 broken on day 3"):
                list(executor.map(fails, [2]))

    def test_a_worker_that_came_later_is_refused(self, local: str) -> None:
        """Every unit says what it is to be computed by, so nobody slips in after the others were checked."""
        origin = Origin("f" * 64, package_versions(), "a" * 64, 7)
        job = SimpleNamespace(origin=origin)
        here = replace(origin, code_version=code_version())
        with (
            cluster.connect(local, here) as executor,
            pytest.raises(InputError, match="is refused: code version"),
        ):
            list(executor.map(compute_away, [job]))


@contextmanager
def processes(
    workers: int, folder: Path | None = None, **environment: str
) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Give a scheduler and workers that are started as on a real cluster; the scheduler is the first process."""
    port = free_port()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    module = [sys.executable, "-m"]
    options = f"distributed.cli.dask_scheduler --host 127.0.0.1 --port {port} --no-dashboard".split()
    started = [subprocess.Popen([*module, *options], **quiet)]
    for _ in range(workers):
        options = f"distributed.cli.dask_worker tcp://127.0.0.1:{port} --nthreads 1 --no-nanny --no-dashboard".split()
        started.append(
            subprocess.Popen([*module, *options], cwd=folder, env={**os.environ, **environment}, **quiet)
        )
    try:
        answers(port)
        yield f"dask://127.0.0.1:{port}", started
    finally:
        for process in started:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            process.wait()


def answers(port: int) -> None:
    """Wait until somebody listens at a port."""
    for _ in range(600):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise TimeoutError(port)


@pytest.mark.slow
class TestRealProcesses:
    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        pytest.importorskip("distributed")

    def test_a_worker_with_another_cpu_level_is_refused(self, tmp_path: Path) -> None:
        if simd_level() != "X86_V4":
            pytest.skip("the level to switch off is not in use here")
        said = r"worker tcp://127\.0\.0\.1:\d+ is refused: simd X86_V3, not X86_V4"
        older = processes(1, NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR")
        with older as (backend, _), pytest.raises(InputError, match=said):
            split.computed(split.tiny(2), tmp_path / "run", backend=backend)
        assert list(tmp_path.iterdir()) == []

    def test_a_worker_without_the_code_is_refused(self, tmp_path: Path) -> None:
        hidden = tmp_path / "hidden"
        (hidden / "sim").mkdir(parents=True)
        (hidden / "sim" / "__init__.py").write_text("raise ImportError('this is another sim')\n")
        said = r"worker tcp://.* is refused: it cannot load this code"
        with processes(1, folder=hidden) as (backend, _), pytest.raises(InputError, match=said):
            split.computed(split.tiny(2), tmp_path / "run", backend=backend)
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize("victim", ["scheduler", "workers"])
    def test_a_cluster_that_dies(self, victim: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What has landed is kept, and the run goes on without the cluster."""
        monkeypatch.setattr(cluster, "GONE_S", 2.0)
        economy, out = split.tiny(24, days=40), tmp_path / "run"

        def dies_after_a_unit(progress: object) -> None:
            if list((out / "parts").glob("base-*")):
                for process in started[:1] if victim == "scheduler" else started[1:]:
                    process.kill()

        with (
            processes(2) as (backend, started),
            pytest.raises(WorkerLost, match="the cluster was lost") as lost,
        ):
            run_experiment(split.order(economy, out, backend=backend, block=1), dies_after_a_unit)
        assert str(lost.value).startswith(backend)
        kept = {path.name for path in (out / "parts").glob("base-*")}
        assert kept
        resumed = split.computed(economy, out, resume=True)
        assert resumed.manifest.files == split.computed(economy, tmp_path / "whole").manifest.files

    def test_one_worker_of_two_dies(self, tmp_path: Path) -> None:
        """Its unit is computed by the other."""
        economy, out = split.tiny(16, days=40), tmp_path / "run"

        def dies(progress: object) -> None:
            if list((out / "parts").glob("base-*")):
                started[1].kill()

        with processes(2) as (backend, started):
            run_experiment(split.order(economy, out, backend=backend, block=1), dies)
        assert split.files(out) == split.computed(economy, tmp_path / "whole").manifest.files
