"""Training adapters on parts of a corpus: how the value of a coalition is found.

Rule decided here. An adapter is a function of (base, documents in their order, recipe, seed): the seed sets A, uniform
within 1 / sqrt(in) by a generator of its own in order of layer and projection, and another generator the order of
documents in each epoch. Adapters of equally many documents are trained side by side as groups of one batch; each group
has its own loss, gradients and optimizer state, so that an adapter does not depend on its neighbours beyond rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_node.attribution.decoder import GroupedLora
from reference_node.attribution.likelihood import Padded, log_likelihoods
from reference_node.model import Llama


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an adapter is trained.

    Parameters
    ----------
    rank, alpha, targets
        Of the adapter.
    epochs, batch
        Passes over the documents, and documents per step.
    learning_rate
        Of AdamW without weight decay, linear to 0 over all steps.
    """

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ("q_proj", "v_proj", "o_proj", "up_proj", "down_proj")
    epochs: int = 16
    batch: int = 16
    learning_rate: float = 6e-3

    def steps(self, documents: int) -> int:
        """Return the steps for so many documents."""
        return self.epochs * math.ceil(documents / self.batch)


Epoch = Callable[[int, float, GroupedLora], None]


def fresh_adapter(model: Llama, recipe: Recipe, seed: int) -> GroupedLora:
    """Return the adapter that training starts from: A drawn, B zero."""
    generator = torch.Generator().manual_seed(seed)
    a, b = {}, {}
    for layer in range(model.config.layers):
        for target in recipe.targets:
            out, inp = model.config.projections()[target]
            bound = 1 / math.sqrt(inp)
            drawn = torch.empty(1, recipe.rank, inp).uniform_(-bound, bound, generator=generator)
            a[layer, target] = drawn.to(model.device)
            b[layer, target] = torch.zeros(1, out, recipe.rank, device=model.device)
    return GroupedLora(a, b, recipe.alpha / recipe.rank)


def train_adapters(
    model: Llama,
    corpus: Padded,
    rows: Sequence[Sequence[int]],
    seeds: Sequence[int],
    recipe: Recipe,
    epoch_done: Epoch | None = None,
) -> GroupedLora:
    """Train one adapter per group.

    Parameters
    ----------
    model
        Base weights, left alone.
    corpus
        All documents.
    rows
        Documents of each group, equally many in each.
    seeds
        Seed of each group.
    recipe
        How.
    epoch_done
        Takes the epochs done, the learning rate of the last step and the adapters so far.

    Raises
    ------
    ValueError
        If groups have unlike numbers of documents.
    """
    counts = {len(one) for one in rows}
    if len(counts) != 1 or len(rows) != len(seeds):
        raise ValueError(
            f"groups of {sorted(counts)} documents, {len(seeds)} seeds; expected one number each"
        )
    count = counts.pop()
    starts = [fresh_adapter(model, recipe, seed) for seed in seeds]
    a = {p: torch.cat([one.a[p] for one in starts]).requires_grad_() for p in starts[0].a}
    b = {p: torch.cat([one.b[p] for one in starts]).requires_grad_() for p in starts[0].b}
    lora = GroupedLora(a, b, starts[0].scale)
    optimizer = torch.optim.AdamW([*a.values(), *b.values()], weight_decay=0.0, fused=True)
    orders = [torch.Generator().manual_seed(seed) for seed in seeds]
    chosen, steps, done = torch.tensor(rows), recipe.steps(count), 0
    for epoch in range(recipe.epochs if count else 0):
        shuffled = torch.stack(
            [one[torch.randperm(count, generator=g)] for one, g in zip(chosen, orders, strict=True)]
        )
        for part in shuffled.split(recipe.batch, dim=1):
            rate = recipe.learning_rate * (1 - done / steps)
            _step(model, corpus.take(part), lora, optimizer, rate)
            done += 1
        if epoch_done is not None:
            epoch_done(epoch + 1, rate, _detached(lora))
    return _detached(lora)


def _step(
    model: Llama, batch: Padded, lora: GroupedLora, optimizer: torch.optim.Optimizer, rate: float
) -> None:
    """Take one step on each group's mean loss per token."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    totals = log_likelihoods(model, batch, lora).sum(1)
    loss = -(totals / batch.counted.sum((1, 2))).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _detached(lora: GroupedLora) -> GroupedLora:
    copies: list[dict[tuple[int, str], Tensor]] = [
        {place: tensor.detach().clone() for place, tensor in store.items()} for store in (lora.a, lora.b)
    ]
    return GroupedLora(copies[0], copies[1], lora.scale)
