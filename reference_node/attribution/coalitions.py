"""Retraining coalitions: an adapter for each, and what it makes of the queries.

Rule decided here. A job is a coalition (sum of 2^player) and a seed; jobs on equally many documents are trained side by
side. What a group of jobs found is kept under the hash of everything it depends on, so that a killed run goes on where
it was. The empty coalition is the base model, whatever the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from reference_node.attribution.cache import Cache
from reference_node.attribution.decoder import GroupedLora
from reference_node.attribution.likelihood import Padded, Text, log_likelihoods, padded
from reference_node.attribution.retrain import Recipe, train_adapters
from reference_node.model import Llama
from reference_node.weights import named_tensors, tensors_sha256

SIDE_BY_SIDE = 8

Job = tuple[int, int]
"""Coalition and seed."""
Progress = Callable[[int, int], None]
"""Takes the jobs done and all."""


@dataclass(frozen=True, slots=True)
class Game:
    """Who plays, and what is asked.

    Parameters
    ----------
    model
        Base weights.
    texts
        Documents.
    player_of
        Player of each document.
    queries
        Prompts with their answers.
    recipe
        How adapters are trained.
    """

    model: Llama
    texts: Sequence[Text]
    player_of: Sequence[int]
    queries: Sequence[Text]
    recipe: Recipe

    def members(self, coalition: int) -> list[int]:
        """Return the documents of a coalition in the order of the corpus."""
        return [row for row, player in enumerate(self.player_of) if coalition >> player & 1]

    def outputs(
        self, jobs: Sequence[Job], cache: Cache, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Return the log-likelihood of every query under every job's adapter, float32 (jobs, queries).

        Parameters
        ----------
        jobs
            What to train.
        cache
            Where results are kept.
        progress
            Told after every group of jobs.
        """
        found = np.empty((len(jobs), len(self.queries)), np.float32)
        corpus, asked, done = (
            padded(self.texts, self.model.device),
            padded(self.queries, self.model.device),
            0,
        )
        identity = {
            "outputs": "coalitions.v1",
            "base": tensors_sha256(named_tensors(self.model).items()),
            "texts": [[text.start, *text.tokens] for text in self.texts],
            "queries": [[text.start, *text.tokens] for text in self.queries],
            "recipe": asdict(self.recipe),
        }
        for group in self._side_by_side(jobs):
            rows = [self.members(jobs[i][0]) for i in group]
            seeds = [jobs[i][1] for i in group]

            def build(rows: list[list[int]] = rows, seeds: list[int] = seeds) -> NDArray[np.float32]:
                lora = train_adapters(self.model, corpus, rows, seeds, self.recipe)
                return answer_values(self.model, lora, asked).cpu().numpy()

            found[group] = cache.array(identity | {"rows": rows, "seeds": seeds}, build)
            done += len(group)
            if progress is not None:
                progress(done, len(jobs))
        return found

    def _side_by_side(self, jobs: Sequence[Job]) -> list[list[int]]:
        """Return the jobs' numbers in groups of equally many documents, larger ones first."""
        by_count: dict[int, list[int]] = {}
        for number, (coalition, _) in enumerate(jobs):
            by_count.setdefault(len(self.members(coalition)), []).append(number)
        return [
            by_count[count][first : first + SIDE_BY_SIDE]
            for count in sorted(by_count, reverse=True)
            for first in range(0, len(by_count[count]), SIDE_BY_SIDE)
        ]


@torch.no_grad()
def answer_values(model: Llama, lora: GroupedLora, texts: Padded) -> torch.Tensor:
    """Return the log-likelihood of all texts under each of the adapters, float32 (G, texts)."""
    groups = next(iter(lora.a.values())).shape[0]
    every = torch.arange(len(texts.tokens), device=model.device)
    return log_likelihoods(model, texts.take(every.expand(groups, -1)), lora)
