"""`ef_base`: damped empirical-Fisher influence, linearised where the adapter started.

Rule decided here. Gradients are taken at the base model with a fresh adapter (A drawn, B zero), where nothing is
memorised yet and only B has a gradient; the damped Fisher system is solved among the documents. One backward pass per
answer; one drawn A is enough.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.influence import DUAL_DAMPING, dual_scores
from reference_node.attribution.cache import Cache
from reference_node.attribution.gradients import GradientPoint, document_rows
from reference_node.attribution.likelihood import Text
from reference_node.attribution.method import Floats
from reference_node.attribution.retrain import Recipe, fresh_adapter
from reference_node.model import Llama


class EfBase:
    """Empirical-Fisher dual at the base model.

    Parameters
    ----------
    model
        Base weights.
    recipe
        Shape of the adapter.
    seed
        Of its A; not that of any trained adapter.
    documents
        Texts of the corpus.
    cache
        Where the documents' gradients are kept.
    damping
        Factor of lambda.
    """

    name = "ef_base"

    def __init__(
        self,
        model: Llama,
        recipe: Recipe,
        seed: int,
        documents: Sequence[Text],
        cache: Cache,
        damping: float = DUAL_DAMPING,
    ) -> None:
        self.point = GradientPoint(model, fresh_adapter(model, recipe, seed), only_b=True)
        self.rows = document_rows(self.point, documents, cache)
        self.kernel, self.damping = self.rows @ self.rows.T, damping

    @property
    def params(self) -> dict[str, int | str]:
        """Damping in millionths and the hash of the state."""
        return {"damping_per_million": round(self.damping * 10**6), "state_sha256": self.point.sha256}

    def scores(self, queries: Sequence[Text]) -> Floats:
        """Return the score of every document, float64 (queries, documents)."""
        return dual_scores(self.point.rows(queries) @ self.rows.T, self.kernel, self.damping)
