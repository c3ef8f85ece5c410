"""Gradients where an adapter starts: A drawn, B zero, nothing memorised yet.

Rules decided here. There the adapter changes nothing and only B has a gradient, scale * dL/dy (A x)^T with x and y the
input and output of the projection, so one backward pass of the base gives the rows of all texts. Taken are the
projections that write to the residual stream, o and down: what the others do to an answer goes through them. dL/dy is
sketched by a drawn Gaussian matrix, which keeps inner products in expectation and makes rows short (as LoGra does,
arXiv 2405.13954). The sketch is a part of the point, so rows of two points are never compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reference_node.attribution.cache import Cache
from reference_node.attribution.decoder import GroupedLora, Place, hidden_states
from reference_node.attribution.gradients import Rows, batches, refuse_not_finite
from reference_node.attribution.likelihood import Text, padded
from reference_node.attribution.retrain import Recipe, fresh_adapter
from reference_node.model import Llama
from reference_node.weights import named_tensors, tensors_sha256

RESIDUAL_WRITERS = ("o_proj", "down_proj")


@dataclass(frozen=True)
class StartPoint:
    """The start of an adapter.

    Parameters
    ----------
    model
        Base weights.
    recipe
        Shape of the adapter.
    seed
        Of A and of the sketch.
    sketch
        Numbers that a gradient of an output is sketched to; 0 keeps it whole.
    targets
        Projections whose B is looked at, among those of the recipe.
    """

    model: Llama
    recipe: Recipe
    seed: int
    sketch: int
    targets: tuple[str, ...] = RESIDUAL_WRITERS

    @cached_property
    def lora(self) -> GroupedLora:
        """The adapter."""
        return fresh_adapter(self.model, self.recipe, self.seed)

    @cached_property
    def places(self) -> list[Place]:
        """Places in the order of a row."""
        return [place for place in self.lora.b if place[1] in self.targets]

    @cached_property
    def sketches(self) -> dict[Place, Tensor]:
        """Sketch of each place, float32 (sketch, out), scaled so that it keeps inner products."""
        drawn = torch.Generator().manual_seed(self.seed)
        device, made = self.model.device, {}
        for place in self.places if self.sketch else ():
            matrix = torch.randn(self.sketch, self.lora.b[place].shape[1], generator=drawn)
            made[place] = (matrix / self.sketch**0.5).to(device)
        return made

    @cached_property
    def sha256(self) -> str:
        """Hash of base, start, targets and sketch."""
        tensors = [
            *named_tensors(self.model).items(),
            *((f"a.{place}", self.lora.a[place]) for place in self.places),
            *((f"sketch.{place}", matrix) for place, matrix in self.sketches.items()),
            ("settings", torch.tensor([self.lora.scale, self.sketch], dtype=torch.float64)),
        ]
        return tensors_sha256(tensors)

    def rows(self, texts: Sequence[Text]) -> Rows:
        """Return the gradients of the texts' log-likelihoods, float32 (texts, places * sketch * rank).

        Raises
        ------
        InputError
            Naming the texts with a gradient that is not finite.
        """
        order = sorted(range(len(texts)), key=lambda i: len(texts[i].tokens))
        parts = [(batch, self._rows([texts[i] for i in batch])) for batch in batches(order, texts)]
        found = np.empty((len(texts), parts[0][1].shape[1] if parts else 0), np.float32)
        for batch, rows in parts:
            found[batch] = rows.cpu().numpy()
        return refuse_not_finite(found)

    def document_rows(self, texts: Sequence[Text], cache: Cache) -> NDArray[np.float32]:
        """Return the gradients of documents, from disk where they were computed before."""
        identity = {"rows": "start.v1", "point": self.sha256, "texts": [[t.start, *t.tokens] for t in texts]}
        return cache.array(identity, lambda: self.rows(texts))

    def _rows(self, texts: Sequence[Text]) -> Tensor:
        inner: dict[Place, Tensor] = {}
        probes: dict[Place, Tensor] = {}

        def tap(place: Place, x: Tensor, y: Tensor) -> Tensor:
            """Add a zero whose gradient is that of the output."""
            if place not in self.lora.b or place[1] not in self.targets:
                return y
            inner[place] = x.detach() @ self.lora.a[place][0].T
            probes[place] = torch.zeros_like(y, requires_grad=True)
            return y + probes[place]

        batch, count = padded(texts, self.model.device), len(texts)
        rows = batch.take(torch.arange(count, device=self.model.device)[None])
        states = hidden_states(self.model, rows.tokens[..., :-1], tap=tap)[rows.counted]
        seeds = _likelihood_gradient(self.model.head, states.detach(), rows.tokens[..., 1:][rows.counted])
        outer = dict(zip(probes, torch.autograd.grad(states, list(probes.values()), seeds), strict=True))
        found = []
        for place in self.places:
            dy, ax = (one.view(count, -1, one.shape[-1]) for one in (outer[place], inner[place]))
            if self.sketch:
                dy = dy @ self.sketches[place].T
            found.append(self.lora.scale * torch.bmm(dy.transpose(1, 2), ax).flatten(1))
        return torch.cat(found, dim=1)


@torch.no_grad()
def _likelihood_gradient(head: Tensor, states: Tensor, aims: Tensor) -> Tensor:
    """Return the gradient of each state's log-likelihood of its next token: (e_aim - softmax) through the head."""
    odds = torch.softmax(states @ head.T, dim=-1)
    return head[aims] - odds @ head
