"""Contestants: every engine that runs OTE-1, and for how many days a sample of each lasts.

Rule decided here: a peer that is not installed is named and not run. Time is the processor's, all threads of the
process together, so that an engine with threads of its own counts what it uses and a busy machine counts for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from time import process_time
from typing import Any

from sim.engine_bench import ote1
from sim.engine_bench.setup import Draws, Outcome, Population

AGENTS = 10_000
BATCH = 16


@dataclass(frozen=True)
class Peer:
    """A peer: the module that runs OTE-1 on it, the days of a sample, and the bar on how much faster we are."""

    module: str
    days: int
    bar: float | None = None

    @property
    def installed(self) -> bool:
        """Whether its package is here."""
        return find_spec(self._loaded.MODULE) is not None

    @property
    def install(self) -> str:
        """How to install it."""
        return str(self._loaded.INSTALL)

    def prepare(self, people: Population, days: int, given: Draws | None = None) -> Callable[[], Outcome]:
        """Return a run that is ready to start."""
        prepared: Callable[[], Outcome] = self._loaded.prepare(people, days, given)
        return prepared

    @property
    def _loaded(self) -> Any:
        return import_module(f"sim.engine_bench.peers.{self.module}")


PEERS = {
    # samples of agents as dictionaries are short because their history takes memory; no vote favours them
    "cadcad_dict": Peer("cadcad_dict", 10, 8_000),
    "cadcad_merged": Peer("cadcad_merged", 10),
    "cadcad_numpy": Peer("cadcad_numpy", 120),
    "mesa": Peer("mesa_agents", 30, 350),
    "agentpy": Peer("agentpy_agents", 30),
    "numpy": Peer("numpy_inplace", 300, 2.5),
    "polars": Peer("polars_expressions", 60),
}
"""Name within ``ote1.x_<name>.n1e4`` -> peer."""


def peer_step(peer: Peer, people: Population) -> Callable[[int], float]:
    """Return a step of `interleaved`: seconds of the processor per agent-step, set-up left out."""

    def step(_number: int) -> float:
        run = peer.prepare(people, peer.days)
        began = process_time()
        run()
        return (process_time() - began) / (people.count * peer.days)

    return step


def our_step(people: Population, runs: int, days: int) -> Callable[[int], float]:
    """Return the same for our engine, a batch of runs in one thread; it is compiled before."""
    simulation = ote1.Simulation(people, days, range(runs))

    def step(_number: int) -> float:
        simulation.restart()
        began = process_time()
        simulation.run()
        return (process_time() - began) / (people.count * days * runs)

    return step
