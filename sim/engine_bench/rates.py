"""Rates: OTE-1 at 10,000 agents on our engine and on its peers, in one interleaved run.

Rule decided here: a figure is the ratio for a single run in one thread, as the benchmark is stated; the same for a
batch of runs stands under its detail.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from sim.bench import Figure
from sim.chain.bench.timing import interleaved, ratio
from sim.engine_bench.contestants import AGENTS, BATCH, PEERS, our_step, peer_step
from sim.engine_bench.setup import population

if TYPE_CHECKING:
    from sim.bench import Progress

ROUNDS = 5
OUR_DAYS = {"olsim": 1_500, "olsim_batch": 240}


def rate_figures(tell: Progress, memory: dict[str, float], rounds: int = ROUNDS) -> list[Figure]:
    """Measure every engine that is here.

    Parameters
    ----------
    tell
        Says what happens.
    memory
        Engine -> growth of its peak memory, MB, for the details.
    rounds
        Rounds that count.
    """
    people = population(AGENTS)
    steps = {
        "olsim": our_step(people, 1, OUR_DAYS["olsim"]),
        "olsim_batch": our_step(people, BATCH, OUR_DAYS["olsim_batch"]),
    }
    steps |= {name: peer_step(peer, people) for name, peer in PEERS.items() if peer.installed}
    tell(f"OTE-1, {AGENTS:,} agents: {', '.join(steps)}; {rounds + 1} rounds")
    samples = interleaved(steps, rounds)
    return [_figure(name, samples, memory) for name in PEERS]


def _figure(name: str, samples: dict[str, list[float]], memory: dict[str, float]) -> Figure:
    peer, figure = PEERS[name], f"ote1.x_{name}.n1e4"
    if name not in samples:
        return Figure(figure, None, "ratio", "higher", peer.bar, {"install": peer.install})
    shown = ("olsim", "olsim_batch", name)
    detail = {
        "steps_per_s": {engine: round(1 / median(samples[engine])) for engine in shown},
        "samples_ns_per_step": {engine: [round(1e9 * s, 4) for s in samples[engine]] for engine in shown},
        f"batch_of_{BATCH}": round(ratio(samples, name, "olsim_batch"), 2),
        "peak_memory_growth_mb": {engine: memory[engine] for engine in ("olsim", name) if engine in memory},
        "days": {"olsim": OUR_DAYS["olsim"], "olsim_batch": OUR_DAYS["olsim_batch"], name: peer.days},
    }
    return Figure(figure, round(ratio(samples, name, "olsim"), 2), "ratio", "higher", peer.bar, detail)
