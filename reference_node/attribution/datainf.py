"""`poa_small`: the published formula for small models, DataInf at the final adapter. A named baseline.

Rule decided here: gradients of A and B at the adapter that answers, lambda of 0.1 per weight tensor, and the sign that
pays what helps (`models.influence`). Published text clips per sample before it sums.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.influence import DATAINF_DAMPING, datainf_scores
from reference_node.attribution.cache import Cache
from reference_node.attribution.decoder import GroupedLora
from reference_node.attribution.gradients import GradientPoint, document_rows
from reference_node.attribution.likelihood import Text
from reference_node.attribution.method import Floats
from reference_node.model import Llama


class PoaSmall:
    """DataInf.

    Parameters
    ----------
    model, lora
        Base weights and the adapter that answers.
    documents
        Texts of the corpus.
    cache
        Where the documents' gradients are kept.
    """

    name = "poa_small"

    def __init__(self, model: Llama, lora: GroupedLora, documents: Sequence[Text], cache: Cache) -> None:
        self.point = GradientPoint(model, lora)
        self.rows = document_rows(self.point, documents, cache)

    @property
    def params(self) -> dict[str, int | str]:
        """Damping in millionths and the hash of the state."""
        return {"damping_per_million": round(DATAINF_DAMPING * 10**6), "state_sha256": self.point.sha256}

    def scores(self, queries: Sequence[Text]) -> Floats:
        """Return -I(k) of every document, float64 (queries, documents)."""
        return datainf_scores(self.point.rows(queries), self.rows, self.point.tensors)
