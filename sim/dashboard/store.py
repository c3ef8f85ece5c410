"""Store: which run directories and scenario files there are.

Rule decided here: runs live in the folder that OLSIM_RUNS names, else in ``runs`` of the working directory;
a directory is what its manifest says. Nothing is opened that is only listed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import InputError
from sim.experiment.execute import RUNS
from sim.report.text import DASH
from sim.results.lock import LOCK_FILE
from sim.results.manifest import MANIFEST, Manifest

ENVIRONMENT = "OLSIM_RUNS"
JOBS = ".jobs"
"""Folder of the runs that the dashboard started, beside the run directories."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A run directory as it stands.

    Parameters
    ----------
    directory
        The directory.
    status
        ``complete``, ``computing``, ``interrupted``, ``failed`` or ``unreadable``.
    problem
        What is wrong, "" for nothing.
    manifest
        Its manifest, None where unreadable.
    stamp
        Time of the manifest's last change in nanoseconds: together with the name it identifies the contents.
    """

    directory: Path
    status: str
    problem: str
    manifest: Manifest | None
    stamp: int

    @property
    def name(self) -> str:
        """Name of the directory."""
        return self.directory.name


def runs_folder() -> Path:
    """Return the folder of run directories, which need not exist."""
    return Path(os.environ.get(ENVIRONMENT) or RUNS)


def entries(folder: Path) -> list[Entry]:
    """Return the run directories of a folder, the newest first.

    Parameters
    ----------
    folder
        Where run directories are; missing is empty.
    """
    if not folder.is_dir():
        return []
    found = [entry(path) for path in folder.iterdir() if (path / MANIFEST).is_file() and path.name[0] != "."]
    return sorted(found, key=lambda one: (-one.stamp, one.name))


def entry(directory: Path) -> Entry:
    """Return what stands in a directory that has a manifest."""
    stamp = (directory / MANIFEST).stat().st_mtime_ns
    try:
        manifest = Manifest.read(directory)
    except InputError as error:
        return Entry(directory, "unreadable", str(error), None, stamp)
    if manifest.status == "running":
        computing = writer_alive(directory)
        problem = "" if computing else f"continue it with {manifest.command} --out {directory} --resume"
        return Entry(directory, "computing" if computing else "interrupted", problem, manifest, stamp)
    return Entry(directory, manifest.status, manifest.failure, manifest, stamp)


def writer_alive(directory: Path) -> bool:
    """Return whether the process that the directory's lock file names is there."""
    try:
        process = int((directory / LOCK_FILE).read_text(encoding="utf-8").strip())
        os.kill(process, 0)
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return True


def listing(found: list[Entry]) -> list[dict[str, Any]]:
    """Return the rows of the run browser, one mapping per entry, with people's column names."""
    rows: list[dict[str, Any]] = []
    for one in found:
        manifest = one.manifest
        row: dict[str, Any] = {"run": one.name, "status": one.status}
        if manifest is not None:
            row |= {
                "scenario": manifest.scenario or manifest.name, "from": manifest.start, "days": manifest.days,
                "runs": manifest.runs, "agents": manifest.agents,
                "chain": "executed" if manifest.chain.executed else "off",
                "checks": _checks(one, manifest), "wall time": _wall_time(manifest),
            }  # fmt: skip
        rows.append(row)
    return rows


def _wall_time(manifest: Manifest) -> str:
    seconds = manifest.timing.wall_s
    return f"{seconds:,.0f} s" if seconds else DASH


def _checks(one: Entry, manifest: Manifest) -> str:
    if one.status != "complete":
        return DASH
    if manifest.reconciled:
        return "residual 0 gwei" + (", chain 0 wei" if manifest.chain.executed else "")
    return f"residual {manifest.conservation_residual_gwei} gwei, chain {manifest.chain.max_abs_diff_wei} wei"


def scenario_files(root: Path = Path("scenarios"), *, tokens: bool = False) -> list[Path]:
    """Return the scenario files below a folder, the baseline first.

    Parameters
    ----------
    root
        Folder of scenarios; missing is empty.
    tokens
        Whether files that hold a token alone belong: they have a calendar but cannot be run.
    """
    found = [path for path in sorted(root.rglob("*.yaml")) if tokens or "tokens" not in path.parts]
    return sorted(found, key=lambda path: (path.name != "baseline.yaml", len(path.parts), path.as_posix()))
