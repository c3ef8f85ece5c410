"""Engines: our chain against its peers, kind by kind.

Rule decided here: eth-tester is compared as users have it, through web3 and our clients; titanoboa, which has no
transactions, is compared message by message with calldata that is ready.
"""

from __future__ import annotations

from contextlib import ExitStack
from statistics import median
from typing import TYPE_CHECKING, Any

from sim.bench import Figure
from sim.chain.bench import eth_tester_peer, titanoboa_peer
from sim.chain.bench.ours import OurEngine, OurEngineAlone
from sim.chain.bench.scene import KINDS, Engine, Scene
from sim.chain.bench.timing import interleaved, milliseconds, ratio

if TYPE_CHECKING:
    from sim.bench import Progress
    from sim.chain.bench.timing import Step

ROUNDS = 7
BARS = {"transfer": 6.0, "vote": 3.0, "claim": None}
"""At least this many times as fast as eth-tester with web3."""

PAIRS = {"eth_tester": ("eth_tester", "ours", eth_tester_peer.INSTALL),
         "titanoboa": ("titanoboa", "ours_alone", titanoboa_peer.INSTALL)}  # fmt: skip
"""Peer -> its engine, ours that it is compared with, and how to install it."""


def engine_figures(tell: Progress, rounds: int = ROUNDS) -> list[Figure]:
    """Measure transfers, votes and claims on every engine that is here and return the ratios."""
    with ExitStack() as stack:
        tell("deploying the contracts on every engine")
        scenes = {name: Scene(engine, rounds) for name, engine in _engines(stack).items()}
        figures = []
        for kind in KINDS:
            tell(f"{kind}s on {', '.join(scenes)}")
            steps = {name: _step(scene, kind) for name, scene in scenes.items()}
            samples = interleaved(steps, rounds)
            figures += [_figure(kind, peer, samples) for peer in PAIRS]
        return sorted(figures, key=lambda figure: list(PAIRS).index(figure.id.partition(".x_")[2]))


def _engines(stack: ExitStack) -> dict[str, Engine]:
    engines: dict[str, Engine] = {"ours": OurEngine(), "ours_alone": OurEngineAlone()}
    if eth_tester_peer.installed():
        engines["eth_tester"] = eth_tester_peer.EthTesterEngine()
    python = titanoboa_peer.find_python()
    if python is not None:
        engines["titanoboa"] = stack.enter_context(titanoboa_peer.TitanoboaEngine(python))
    return engines


def _step(scene: Scene, kind: str) -> Step:
    return lambda number: scene.step(kind, number)


def _figure(kind: str, peer: str, samples: dict[str, list[float]]) -> Figure:
    engine, ours, install = PAIRS[peer]
    name, bar = f"{kind}.x_{peer}", BARS[kind] if peer == "eth_tester" else None
    if engine not in samples:
        return Figure(name, None, "ratio", "higher", bar, {"install": install})
    both: dict[str, Any] = {ours: samples[ours], engine: samples[engine]}
    rates = {f"{one}_per_s": round(1 / median(values), 1) for one, values in both.items()}
    return Figure(
        name, round(ratio(samples, engine, ours), 2), "ratio", "higher", bar,
        {"samples_ms": milliseconds(both), **rates},
    )  # fmt: skip
