"""Launch: `olsim run` as a background process that outlives the page, and how it stands.

Rule decided here: a job is a process of its own session, a log and a note beside the run directories. The
process holds a kernel lock on its log for as long as it lives, so a job is running exactly while its log is
locked: neither a reload of the page nor a restart of the dashboard loses it, and a process number that was
given to somebody else misleads nobody. Progress is what the run directory says.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Thread

from models.errors import InputError
from sim.dashboard.store import JOBS
from sim.results.manifest import MANIFEST

PROGRAM = (sys.executable, "-m", "sim.cli")
"""What is started: `olsim` of this interpreter."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""What a run directory started from here may be called."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to run.

    Parameters
    ----------
    scenario
        The file.
    runs, agents, days
        Instead of the scenario's; None leaves them.
    chain
        Whether the witness run executes on chain.
    """

    scenario: Path
    runs: int | None = None
    agents: int | None = None
    days: int | None = None
    chain: bool = True

    def name(self) -> str:
        """Return a name for the run directory that says what differs from the scenario.

        Examples
        --------
        >>> Request(Path("scenarios/baseline.yaml"), runs=4, days=420, chain=False).name()
        'baseline-4runs-420days-nochain'
        """
        sizes = {"runs": self.runs, "agents": self.agents, "days": self.days}
        parts = [self.scenario.stem, *(f"{size}{word}" for word, size in sizes.items() if size is not None)]
        return re.sub(r"[^A-Za-z0-9._-]", "_", "-".join([*parts, *([] if self.chain else ["nochain"])]))

    def arguments(self, directory: Path) -> list[str]:
        """Return the arguments of `olsim`; a directory that is there is continued or extended."""
        words = ["run", str(self.scenario), "--out", str(directory)]
        for option, size in (("--runs", self.runs), ("--agents", self.agents), ("--days", self.days)):
            words += [option, str(size)] if size is not None else []
        words += ["--chain", "on" if self.chain else "off"]
        return words + (["--resume"] if (directory / MANIFEST).is_file() else [])


@dataclass(frozen=True, slots=True)
class Job:
    """A run that the dashboard started.

    Parameters
    ----------
    name
        Name of its run directory.
    process
        Process number, which is the number of its session too.
    command
        The command as one would type it.
    """

    name: str
    process: int
    command: str


def start(request: Request, name: str, folder: Path) -> Job:
    """Start a run in the background.

    Parameters
    ----------
    request
        What to run.
    name
        Name of the run directory.
    folder
        Folder of run directories; made where missing.

    Raises
    ------
    InputError
        If the name cannot be a directory's, or a job of that name is running.
    """
    if not NAME.fullmatch(name):
        raise InputError(
            f"run directory '{name}' is no plain name; allowed are 1 to 100 letters, digits, dots, dashes "
            "and underscores, beginning with a letter or digit"
        )
    notes = folder / JOBS
    notes.mkdir(parents=True, exist_ok=True)
    if is_running(folder, name):
        raise InputError(
            f"run directory '{name}' is being computed already; wait for it or choose another name"
        )
    arguments = request.arguments(folder / name)
    with _log(folder, name).open("wb") as log:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process = subprocess.Popen(
            [*PROGRAM, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    Thread(target=process.wait, daemon=True).start()  # leaves no zombie behind
    job = Job(name, process.pid, " ".join(["olsim", *arguments]))
    (notes / f"{name}.json").write_text(json.dumps(asdict(job)) + "\n", encoding="utf-8")
    return job


def is_running(folder: Path, name: str) -> bool:
    """Return whether the process of a job lives: it or a worker of it holds the log's lock."""
    try:
        descriptor = os.open(_log(folder, name), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def jobs(folder: Path) -> list[Job]:
    """Return the jobs of a folder by name; a damaged note is left out."""
    found = []
    for path in sorted((folder / JOBS).glob("*.json")):
        try:
            found.append(Job(**json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError):
            continue
    return found


def messages(folder: Path, job: Job) -> list[str]:
    """Return what a job wrote, line by line, without lines of progress."""
    try:
        text = _log(folder, job.name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip() and not _is_progress(line)]


def _is_progress(line: str) -> bool:
    return bool(re.match(r"(simulating|assembling|reporting|complete) \d+ %, ", line))


def stop(folder: Path, job: Job) -> None:
    """Interrupt a running job as Ctrl-C would; what has landed stays and can be continued."""
    if is_running(folder, job.name):
        os.killpg(job.process, signal.SIGINT)


def forget(folder: Path, job: Job) -> None:
    """Remove the note and the log of a job that has ended."""
    if not is_running(folder, job.name):
        (folder / JOBS / f"{job.name}.json").unlink(missing_ok=True)
        _log(folder, job.name).unlink(missing_ok=True)


def _log(folder: Path, name: str) -> Path:
    return folder / JOBS / f"{name}.log"
