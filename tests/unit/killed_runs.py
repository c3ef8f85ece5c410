"""Kills a tiny experiment with SIGKILL at random moments and resumes it; prints what it found as JSON.

A program of its own: it forks its children from a process in which everything is imported and compiled, so that a
moment is a moment of the experiment and not of Python's start. Polars' threads do not outlive a fork, so this
process itself must not use them.

    python killed_runs.py FOLDER KILLS SEED
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import split_runs as split

from sim.economy import Economy
from sim.engine import run_batch
from sim.experiment.execute import run_experiment
from sim.results.code import code_version

RUNS, EXTENDED = 12, 20
HOWS: tuple[dict[str, Any], ...] = (
    {"block": 3},
    {"block": 2, "workers": 2, "backend": "threading"},
    {"block": 5, "workers": 2, "backend": "threading"},
)


def start(economy: Economy, out: Path, **how: Any) -> int:
    """Begin an experiment in a child and return its process number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        run_experiment(split.order(economy, out, **how), lambda _: None)
        code = 0
    finally:
        os._exit(code)


def ends(child: int) -> int:
    """Wait for a child and return its exit code; minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_after(seconds: float, economy: Economy, out: Path, **how: Any) -> bool:
    """Kill an experiment some time after it began; False where it was done before."""
    child = start(economy, out, **how)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)  # a child that is done waits to be asked for its exit code
    return ends(child) == -signal.SIGKILL


def stage(out: Path) -> str:
    """Return what a killed experiment left."""
    if not (out / "manifest.json").is_file():
        return "nothing"
    manifest = json.loads((out / "manifest.json").read_text())
    if manifest["status"] == "complete" or manifest["assembling"]:
        return "assembling"
    landed = [path for path in (out / "parts").glob("*") if not path.name.startswith(".")]
    return "some units" if landed else "no unit"


def damage(out: Path, whole: Path) -> list[str]:
    """Return what of a resumed directory differs from one that was never killed, or should not be there."""
    wanted = split.files(whole)
    found = [name for name, sha256 in split.files(out).items() if sha256 != wanted[name]]
    if (out / "metrics.parquet").read_bytes() != (whole / "metrics.parquet").read_bytes():
        found.append("bytes of metrics.parquet")
    left = [path.name for path in out.iterdir() if path.name not in {file.name for file in whole.iterdir()}]
    return [f"{out.name}: {what}" for what in found + left]


def main(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill and resume until there were `kills` kills."""
    economies = {"whole": split.tiny(RUNS), "extended": split.tiny(EXTENDED)}
    run_batch(economies["whole"], np.arange(2))  # compiled code is loaded
    code_version()  # and remembered: all children are of one version, whatever happens to the sources
    began = time.monotonic()
    for name, economy in economies.items():
        assert ends(start(economy, folder / name)) == 0
    whole_s = (time.monotonic() - began) / 2
    random_ = random.Random(seed)
    stages: dict[str, int] = {}
    wrong: list[str] = []
    for attempt in range(10 * kills):
        if sum(stages.values()) >= kills:
            break
        out, name = folder / f"run{attempt}", random_.choice(("whole", "whole", "extended"))
        if name == "extended":  # a complete directory that is killed while it is extended
            shutil.copytree(folder / "whole", out)
        how = {"resume": True, **random_.choice(HOWS)}
        while killed_after(random_.uniform(0, 1.1 * whole_s), economies[name], out, **how):
            stages[stage(out)] = stages.get(stage(out), 0) + 1
            if random_.random() < 0.5:
                break
        code = ends(start(economies[name], out, resume=True, **random_.choice(HOWS)))
        wrong += damage(out, folder / name) if code == 0 else [f"{out.name}: exit code {code}"]
    return {"kills": sum(stages.values()), "stages": stages, "wrong": wrong, "whole_s": round(whole_s, 2)}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
