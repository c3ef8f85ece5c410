"""Gradients of texts with respect to an adapter, one row per text.

Rules decided here. Every text gets an adapter of its own in one grouped pass, so that one backward gives all rows. Rows
of documents are kept on disk under the hash of all that they depend on. A row that is not finite is refused with its
text. Where an adapter starts there is a shorter way: `start_gradients`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import InputError, Problem
from reference_node.attribution.cache import Cache
from reference_node.attribution.decoder import GroupedLora
from reference_node.attribution.likelihood import Text, log_likelihoods, padded
from reference_node.model import Llama
from reference_node.weights import named_tensors, tensors_sha256

Rows = NDArray[np.float32]

TOKENS_AT_ONCE = 1024
"""Tokens of a pass; a text's own adapter is as large as the adapter itself."""
TEXTS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class GradientPoint:
    """Where gradients are taken.

    Parameters
    ----------
    model
        Base weights.
    lora
        One adapter.
    """

    model: Llama
    lora: GroupedLora

    @property
    def tensors(self) -> list[slice]:
        """Columns of each weight tensor in a row."""
        ends = np.cumsum([0, *(tensor.numel() for _, tensor in self._trained())])
        return [slice(int(low), int(high)) for low, high in itertools.pairwise(ends)]

    @property
    def sha256(self) -> str:
        """Hash of base and adapter."""
        adapter = [
            (f"{side}.{p}", t)
            for side, store in (("a", self.lora.a), ("b", self.lora.b))
            for p, t in store.items()
        ]
        settings = torch.tensor([self.lora.scale], dtype=torch.float64)
        return tensors_sha256([*named_tensors(self.model).items(), *adapter, ("settings", settings)])

    def rows(self, texts: Sequence[Text]) -> Rows:
        """Return the gradients of the texts' log-likelihoods, float32 (texts, parameters).

        Raises
        ------
        InputError
            Naming the texts with a gradient that is not finite.
        """
        order = sorted(range(len(texts)), key=lambda i: len(texts[i].tokens))
        found = np.empty((len(texts), sum(tensor.numel() for _, tensor in self._trained())), np.float32)
        for batch in batches(order, texts):
            found[batch] = self._rows([texts[i] for i in batch]).cpu().numpy()
        return refuse_not_finite(found)

    def _rows(self, texts: Sequence[Text]) -> Tensor:
        batch, count = padded(texts, self.model.device), len(texts)
        own = {key: tensor.expand(count, -1, -1).clone().requires_grad_() for key, tensor in self._trained()}
        a, b = ({place: own[side, place] for place in self.lora.a} for side in ("a", "b"))
        rows = batch.take(torch.arange(count, device=self.model.device)[:, None])
        total = log_likelihoods(self.model, rows, GroupedLora(a, b, self.lora.scale)).sum()
        return torch.cat([g.flatten(1) for g in torch.autograd.grad(total, list(own.values()))], dim=1)

    def _trained(self) -> list[tuple[tuple[str, tuple[int, str]], Tensor]]:
        sides = (("a", self.lora.a), ("b", self.lora.b))
        return [((side, place), tensor) for side, store in sides for place, tensor in store.items()]


def document_rows(point: GradientPoint, texts: Sequence[Text], cache: Cache) -> Rows:
    """Return the gradients of documents, from disk where they were computed before."""
    identity = {"rows": "gradients.v1", "point": point.sha256, "texts": [[t.start, *t.tokens] for t in texts]}
    build: Callable[[], Rows] = lambda: point.rows(texts)  # noqa: E731
    return cache.array(identity, build)


def refuse_not_finite(rows: Rows) -> Rows:
    """Return rows, or refuse them naming the texts with a gradient that is not finite."""
    wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(wrong):
        raise InputError([Problem("its gradient is not finite", where=f"text {i}") for i in wrong])
    return rows


def batches(order: Sequence[int], texts: Sequence[Text]) -> list[list[int]]:
    """Cut texts in order of length into batches of few enough tokens."""
    batches: list[list[int]] = []
    for i in order:
        length = len(texts[i].tokens)
        if (
            not batches
            or len(batches[-1]) == TEXTS_AT_ONCE
            or (len(batches[-1]) + 1) * length > TOKENS_AT_ONCE
        ):
            batches.append([])
        batches[-1].append(i)
    return batches
