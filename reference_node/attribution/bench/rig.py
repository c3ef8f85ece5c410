"""All methods on one fixture, and what they pay.

Rules decided here. Published formulas stay as they were published: all documents as they are, clipped per sample, no
null level. Ours go through clusters, null level and policy of the one configuration. In the quotient game contributors
that copy another are one player with that one; by identity every name plays by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models.shapley import quotient_values
from reference_node.attribution.cache import Cache
from reference_node.attribution.coalition_bank import CoalitionBank
from reference_node.attribution.configuration import Configuration
from reference_node.attribution.corpus import Corpus, make_corpus
from reference_node.attribution.datainf import PoaSmall
from reference_node.attribution.evaluation import Target
from reference_node.attribution.explain import PUBLISHED
from reference_node.attribution.fixtures.truth_plan import truth_values
from reference_node.attribution.fixtures.world import NOISE, World
from reference_node.attribution.method import Floats, Ints, player_sums
from reference_node.attribution.pipeline_money import money_weights
from reference_node.attribution.planted import planted_documents
from reference_node.attribution.poa_llm import PoaLlm
from reference_node.attribution.policy import MoneyPolicy
from reference_node.attribution.spans import SpanIndex
from reference_node.attribution.tier1 import Tier1
from reference_node.attribution.tracin import TracIn


@dataclass(frozen=True, slots=True)
class Scored:
    """A method's outcome on all queries.

    Parameters
    ----------
    values
        What it finds players worth, (queries, players).
    paid
        Part of the money that players get, (queries, players).
    """

    values: Floats
    paid: Floats


class Rig:
    """One fixture, one game.

    Parameters
    ----------
    world
        The fixture.
    configuration
        What attribution does.
    index
        Span index of its documents.
    cache
        Where gradients and adapters are kept.
    recorded
        Where what adapters make of the queries is kept.
    clustered
        Whether clusters are found (the quotient game), or every name plays by itself.
    """

    def __init__(
        self,
        world: World,
        configuration: Configuration,
        index: SpanIndex,
        cache: Cache,
        recorded: Cache,
        *,
        clustered: bool = True,
    ) -> None:
        self.world, self.configuration, self.index = world, configuration, index
        self.cache, self.recorded = cache, recorded
        documents = world.documents
        planted = planted_documents(
            documents,
            len(world.fixture.words),
            count=configuration.planted,
            seed=configuration.planted_seed,
        )
        self.corpus: Corpus = make_corpus(
            documents, planted, configuration.policy.likeness, clustered=clustered
        )
        self.queries = world.queries

    @property
    def player_of_holder(self) -> Ints:
        """Player of each contributor."""
        return self.corpus.player_of_holder()

    @cached_property
    def target(self) -> Target:
        """The truth of this game."""
        noise = int(self.player_of_holder[self.corpus.holders.index(NOISE)])
        return Target(self.table(truth_values(self.world.truth.values)), noise)

    def table(self, values: Floats) -> Floats:
        """Return the table of this game from the values of all coalitions of contributors."""
        return quotient_values(values, self.player_of_holder)

    @cached_property
    def tier1(self) -> Tier1:
        """Tier 1."""
        made = self.configuration
        return Tier1(self.world.model, made.recipe, self.corpus, self.index, self.cache, made.tier1_window)

    @cached_property
    def bank(self) -> CoalitionBank:
        """Tier 2."""
        made = self.configuration
        return CoalitionBank(
            self.world.model,
            self.corpus,
            made.recipe,
            made.bank,
            self.tier1,
            self.cache,
            self.recorded,
            made.window,
        )

    def methods(self) -> dict[str, Callable[[], Scored]]:
        """Return how to score by every method, in the order of the table."""
        model, states = self.world.model, self.world.states
        texts, last = self.corpus.texts[: self.corpus.real], states[max(states)]
        return {
            "poa_small": lambda: self._published(
                PoaSmall(model, last[1], texts, self.cache).scores(self.queries)
            ),
            "poa_llm": lambda: self._published(PoaLlm(self.index).scores(self.queries)),
            "gradient_dot": lambda: self._published(
                TracIn("gradient_dot", model, [last], texts, self.cache).scores(self.queries)
            ),
            "tracin_cp": lambda: self._published(
                TracIn("tracin_cp", model, list(states.values()), texts, self.cache).scores(self.queries)
            ),
            "ef_base": self._influence,
            "spans": self._spans,
            "ef_spans": lambda: self._paid(self.tier1.scores(self.queries)),
            "coalition_bank": self._bank,
        }

    def _published(self, scores: Floats) -> Scored:
        return self._scored(scores, self.corpus.real, PUBLISHED)

    def _paid(self, scores: Floats) -> Scored:
        return self._scored(scores, len(self.corpus.documents), self.configuration.policy)

    def _influence(self) -> Scored:
        """Tier 1 without spans."""
        return self._paid(self.corpus.widened(self.tier1.influence.scores(self.queries)))

    def _spans(self) -> Scored:
        """Tier 1 without influence."""
        scores = np.zeros((len(self.queries), len(self.corpus.documents)))
        scores[:, : self.corpus.real] = self.tier1.credit.scores(self.queries)
        return self._paid(scores)

    def _bank(self) -> Scored:
        return Scored(self.bank.values(self.queries), self._paid(self.bank.scores(self.queries)).paid)

    def _scored(self, scores: Floats, count: int, policy: MoneyPolicy) -> Scored:
        corpus = self.corpus
        found = money_weights(scores, corpus.documents[:count], policy, clusters=corpus.clusters_of(count))
        paid = np.zeros((len(scores), corpus.players))
        np.add.at(paid.T, self.player_of_holder, found.shares.T)
        return Scored(player_sums(scores[:, : corpus.real], corpus.player_of, corpus.players), paid)
