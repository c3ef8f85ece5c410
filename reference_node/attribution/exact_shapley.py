"""`exact_shapley`, tier 3: the Shapley value of players by retraining all their coalitions. For disputes and tests.

Rule decided here: 2^n adapters, each trained once per seed, values meaned over seeds; n is at most 10. Scores of
documents divide a player's value as tier 1 does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.errors import InputError
from models.shapley import shapley_values
from reference_node.attribution.cache import Cache
from reference_node.attribution.coalitions import Game, Progress
from reference_node.attribution.corpus import Corpus
from reference_node.attribution.likelihood import Text
from reference_node.attribution.method import Floats, Method, inside_players
from reference_node.attribution.retrain import Recipe
from reference_node.model import Llama

PLAYERS_MAX = 10


class ExactShapley:
    """Exact group Shapley.

    Parameters
    ----------
    model
        Base weights.
    corpus
        Documents and players.
    recipe, seeds
        How adapters are trained.
    inside
        Divides a player's value among his documents.
    cache
        Where results are kept.
    progress
        Told after every group of adapters.
    """

    name = "exact_shapley"

    def __init__(
        self,
        model: Llama,
        corpus: Corpus,
        recipe: Recipe,
        seeds: Sequence[int],
        inside: Method,
        cache: Cache,
        progress: Progress | None = None,
    ) -> None:
        if corpus.players > PLAYERS_MAX or not seeds:
            raise InputError(
                f"{corpus.players} players and {len(seeds)} seeds; allowed 1 to {PLAYERS_MAX} players, a seed at least"
            )
        self.model, self.corpus, self.recipe, self.seeds = model, corpus, recipe, tuple(seeds)
        self.inside, self.cache, self.progress = inside, cache, progress

    @property
    def params(self) -> dict[str, int | str]:
        """Players and seeds."""
        return {"players": self.corpus.players, "seeds": ",".join(map(str, self.seeds))}

    def table(self, queries: Sequence[Text]) -> Floats:
        """Return the value of every coalition, float64 (queries, 2^players)."""
        corpus, count = self.corpus, 1 << self.corpus.players
        texts = corpus.texts[: corpus.real]
        game = Game(self.model, texts, corpus.player_of.tolist(), queries, self.recipe)
        jobs = [(coalition, seed) for seed in self.seeds for coalition in range(count)]
        found = game.outputs(jobs, self.cache, self.progress)
        return np.asarray(found.reshape(len(self.seeds), count, -1).astype(np.float64).mean(axis=0).T)

    def values(self, queries: Sequence[Text]) -> Floats:
        """Return the Shapley value of every player, float64 (queries, players)."""
        return shapley_values(self.table(queries))

    def scores(self, queries: Sequence[Text]) -> Floats:
        """Return the score of every document, float64 (queries, documents); planted ones have 0."""
        inside, real = self.inside.scores(queries), self.corpus.real
        found = np.zeros_like(inside)
        weights = inside[:, self.corpus.clusters.leaders[:real]]
        found[:, :real] = inside_players(self.values(queries), weights, self.corpus.player_of)
        return self.corpus.folded(found)
