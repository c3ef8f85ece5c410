"""What copying gains under tier 1: each contributor of a fixture copies its documents, whole or edited.

Rule decided here. The gain of a kind of attack is the largest over contributors, numbers of names and seeds of the
edits, to the millionth (weights are parts of 10^9). Scores are tier 1's on the documents that count alone, made anew
where a copy was not recognised; a contributor that earns nothing has nothing to gain and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from models.errors import InputError
from reference_node.attribution.bench.rig import Rig
from reference_node.attribution.clusters_attack import Gain, copy_gains
from reference_node.attribution.corpus import make_corpus
from reference_node.attribution.method import Floats
from reference_node.attribution.pipeline_money import PLANTED
from reference_node.attribution.spans import SpanIndex
from reference_node.attribution.spans_corpus import SpanDocument
from reference_node.attribution.tier1 import Tier1
from reference_node.bench.figure import bench_figure

BARS = {"exact": 1.00, "near": 1.05}


class Scores:
    """Tier 1's scores of any corpus for the queries of a fixture; those of a corpus seen before are kept.

    Parameters
    ----------
    rig
        The fixture.
    """

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._known: dict[tuple[SpanDocument, ...], Floats] = {}

    def __call__(self, documents: Sequence[SpanDocument]) -> Floats:
        """Return scores, (queries, documents)."""
        key = tuple(documents)
        if key not in self._known:
            self._known[key] = self._scores(documents)
        return self._known[key]

    def _scores(self, documents: Sequence[SpanDocument]) -> Floats:
        rig, made = self._rig, self._rig.configuration
        order = sorted(range(len(documents)), key=lambda i: documents[i].owner == PLANTED)
        real = [documents[i] for i in order if documents[i].owner != PLANTED]
        planted = [documents[i] for i in order[len(real) :]]
        corpus = make_corpus(real, planted, made.policy.likeness)
        with TemporaryDirectory() as folder:
            index = SpanIndex.build(real, Path(folder) / "spans")
            tier1 = Tier1(rig.world.model, made.recipe, corpus, index, rig.cache, made.tier1_window)
            found = tier1.scores(rig.queries)
        return found[:, sorted(range(len(order)), key=order.__getitem__)]


def copy_figures(rig: Rig) -> list[dict[str, Any]]:
    """Return the figures `copy_gain.exact` and `copy_gain.near` of a fixture."""
    score, documents = Scores(rig), rig.corpus.documents
    gains: dict[str, dict[str, Gain]] = {kind: {} for kind in (*BARS, "split")}
    idle = []
    for owner in sorted({one.owner for one in documents} - {PLANTED}):
        try:
            found = copy_gains(documents, owner, score, rig.configuration.policy)
        except InputError:
            idle.append(owner)
            continue
        for kind, some in found.items():
            gains[kind][owner] = max(some, key=lambda gain: gain.ratio)
    split = {owner: round(gain.ratio, 6) for owner, gain in gains["split"].items()}
    figures = []
    for kind, bar in BARS.items():
        detail = {
            "by_owner": {owner: round(gain.ratio, 6) for owner, gain in gains[kind].items()},
            "found": {owner: round(gain.found, 4) for owner, gain in gains[kind].items()},
            "split_by_owner": split,
            "earn_nothing": idle,
        }
        most = max(gain.ratio for gain in gains[kind].values())
        figures.append(bench_figure(f"copy_gain.{kind}", round(most, 6), "ratio", "lower", bar, detail))
    return figures
