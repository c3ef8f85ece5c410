"""Gradient dot products: at one state of an adapter, or summed over the states on its way (TracInCP).

Rule decided here: the score of a document is the sum over states of weight * (query gradient . document gradient), the
weight being the learning rate at that state, and at least 3e-4, since a rate that has fallen to 0 would leave the last
state out. At the final state alone this is the weakest formula known here: a memorised document has hardly a gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reference_node.attribution.cache import Cache
from reference_node.attribution.decoder import GroupedLora
from reference_node.attribution.gradients import GradientPoint, document_rows
from reference_node.attribution.likelihood import Text
from reference_node.attribution.method import Floats
from reference_node.model import Llama

LEAST_WEIGHT = 3e-4


class TracIn:
    """Gradient dot products.

    Parameters
    ----------
    name
        ``gradient_dot`` with one state, ``tracin_cp`` with several.
    model
        Base weights.
    states
        Learning rate and adapter of each state.
    documents
        Texts of the corpus.
    cache
        Where the documents' gradients are kept.
    """

    def __init__(
        self,
        name: str,
        model: Llama,
        states: Sequence[tuple[float, GroupedLora]],
        documents: Sequence[Text],
        cache: Cache,
    ) -> None:
        self.name = name
        self.points = [(max(rate, LEAST_WEIGHT), GradientPoint(model, lora)) for rate, lora in states]
        self.rows = [document_rows(point, documents, cache) for _, point in self.points]

    @property
    def params(self) -> dict[str, int | str]:
        """Number of states, and the hash of the last one."""
        return {"states": len(self.points), "state_sha256": self.points[-1][1].sha256}

    def scores(self, queries: Sequence[Text]) -> Floats:
        """Return the score of every document, float64 (queries, documents)."""
        found: Floats = np.zeros((len(queries), len(self.rows[0])))
        for (weight, point), rows in zip(self.points, self.rows, strict=True):
            found += weight * (point.rows(queries) @ rows.T)
        return found
