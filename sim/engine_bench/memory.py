"""Memory: peaks, each measured in a process of its own, because a process never gives its peak back.

Rule decided here: growth is the peak of the resident set after a run less the peak before it, set-up done and code
compiled. `python -m sim.engine_bench.memory` is such a process; it prints one JSON object.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from sim.engine_bench import ote1
from sim.engine_bench.contestants import PEERS
from sim.engine_bench.setup import population

AGENTS = 10_000
ROOT = Path(__file__).resolve().parents[2]


def in_child(*words: str) -> Any:
    """Run this module with some words in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "sim.engine_bench.memory", *words],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"measuring the memory of {' '.join(words)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def growth_mb(days: int) -> dict[str, float]:
    """Return how many MB the peak of each engine that is here grows in so many days of OTE-1."""
    engines = ["olsim", *(name for name, peer in PEERS.items() if peer.installed)]
    return {engine: in_child(engine, str(days)) for engine in engines}


def peak_mib() -> float:
    """Return the highest resident set of this process so far, MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage would count what the parent held when it made this process
        lines = status.read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB, but bytes on macOS
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def resident_mib() -> float:
    """Return the resident set of this process as it is, MiB; its peak where the system does not tell."""
    pages = Path("/proc/self/statm")
    if not pages.exists():
        return peak_mib()
    return int(pages.read_text(encoding="ascii").split()[1]) * resource.getpagesize() / 2**20


def _growth(engine: str, days: int) -> float:
    people = population(AGENTS)
    if engine == "olsim":
        simulation = ote1.Simulation(people, days)
        simulation.run()
        simulation.restart()
        run: Any = simulation.run
    else:
        PEERS[engine].prepare(population(10), 2)()  # imports and caches are no growth
        run = PEERS[engine].prepare(people, days)
    before = peak_mib()
    run()
    return round((peak_mib() - before) * 1.048576, 1)


def main(words: list[str]) -> None:
    """Measure what the words name: an engine and its days, or the economy and its days."""
    from sim.engine_bench.economy_memory import economy_peaks

    name, days = words[0], int(words[1])
    found = economy_peaks(days) if name == "economy" else _growth(name, days)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
