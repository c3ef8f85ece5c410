"""The attribution bench from the committed fixtures: figures and their document.

Rule decided here: which parts the bench has. Truth tables are committed. What the bank's adapters make of the fixtures'
queries is committed too, under the hash of everything it depends on, and is made anew by training (about a minute for
each of three banks) where it does not match or where that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import reference_node
from reference_node.attribution.bench.costs import Sizes, cost_figures
from reference_node.attribution.bench.overhead import overhead_figures
from reference_node.attribution.bench.quality import Quality, quality_figures
from reference_node.attribution.bench.rig import Rig
from reference_node.attribution.cache import Cache
from reference_node.attribution.configuration import Configuration
from reference_node.attribution.fixtures.store import data_folder
from reference_node.attribution.fixtures.world import load_world
from reference_node.attribution.spans import SpanIndex
from reference_node.bench.describe import cpu_name, revision

Progress = Callable[[str], None]
GAMES = (("f1", True), ("f1", False), ("f2", True))
"""Fixture, and whether clusters are found (the quotient game) or every name plays by itself."""


def outputs_folder() -> Path:
    """Return where the committed outputs of banks lie."""
    return data_folder() / "outputs"


@contextmanager
def open_rig(name: str, work: Path, *, clustered: bool = True, retrain: bool = False) -> Iterator[Rig]:
    """Give a fixture's rig.

    Parameters
    ----------
    name
        Of the fixture.
    work
        Folder of caches.
    clustered
        Whether clusters are found, or every name plays by itself.
    retrain
        Whether committed outputs are left aside.
    """
    torch.set_num_threads(1)
    world, cache = load_world(name), Cache(work / "cache")
    recorded = Cache(work / "outputs", None if retrain else outputs_folder())
    with TemporaryDirectory() as scratch:
        index = SpanIndex.build(world.documents, Path(scratch) / "spans")
        yield Rig(world, Configuration(), index, cache, recorded, clustered=clustered)


def measure_quality(work: Path, progress: Progress, *, retrain: bool = False) -> list[dict[str, Any]]:
    """Measure all methods on both fixtures and return the quality figures."""
    measured = []
    for name, clustered in GAMES:
        progress(f"{name}, {'quotient game' if clustered else 'by identity'}")
        with open_rig(name, work, clustered=clustered, retrain=retrain) as rig:
            measured.append(Quality(rig))
    return quality_figures(*measured)


def measure_costs(work: Path, progress: Progress, sizes: Sizes | None = None) -> list[dict[str, Any]]:
    """Measure what attribution costs and return its figures; copies are those of fixture one's contributors."""
    with open_rig("f1", work) as rig:
        return cost_figures(rig, work, progress, sizes)


def attribution_document(work: Path, progress: Progress, *, retrain: bool = False) -> dict[str, Any]:
    """Run all parts and return the document of `olsim bench attribution --json`."""
    work.mkdir(parents=True, exist_ok=True)
    figures = measure_quality(work, progress, retrain=retrain)
    progress("generation and attribution in turn")
    figures += overhead_figures(work)
    figures += measure_costs(work, progress)
    return {
        "bench": "attribution",
        "machine": {
            "processor": cpu_name(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        },
        "code_version": f"{reference_node.__version__}+{revision()}",
        "figures": figures,
    }
