"""`ef_base`: damped empirical-Fisher influence, linearised where the adapter started.

Rule decided here. Gradients are taken at the base model with a fresh adapter (`start_gradients`), where nothing is
memorised yet; the damped Fisher system is solved among the documents, once. One backward pass over a window of each
answer; one drawn A is enough.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.influence import DUAL_DAMPING, dual_operator
from reference_node.attribution.cache import Cache
from reference_node.attribution.likelihood import Text, Window
from reference_node.attribution.method import Floats
from reference_node.attribution.start_gradients import StartPoint

WHOLE = Window(answer=1 << 30, context=1 << 30)
"""Reads answers whole."""


class EfBase:
    """Empirical-Fisher dual at the base model.

    Parameters
    ----------
    point
        Where gradients are taken; its seed is not that of any trained adapter.
    documents
        Texts of the corpus.
    cache
        Where the documents' gradients are kept.
    window
        How much of an answer is read.
    damping
        Factor of lambda.
    """

    name = "ef_base"

    def __init__(
        self,
        point: StartPoint,
        documents: Sequence[Text],
        cache: Cache,
        window: Window = WHOLE,
        damping: float = DUAL_DAMPING,
    ) -> None:
        self.point, self.window, self.damping = point, window, damping
        self.rows = point.document_rows(documents, cache)
        self.operator = dual_operator(self.rows @ self.rows.T, damping)

    @property
    def params(self) -> dict[str, int | str]:
        """Damping in millionths, the window and the hash of the state."""
        return {
            "damping_per_million": round(self.damping * 10**6),
            "window": str(self.window),
            "state_sha256": self.point.sha256,
        }

    def scores(self, queries: Sequence[Text]) -> Floats:
        """Return the score of every document, float64 (queries, documents)."""
        cross = self.point.rows([self.window.of(query) for query in queries]) @ self.rows.T
        return cross @ self.operator
