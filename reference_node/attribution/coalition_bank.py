"""`coalition_bank`, tier 2: values fitted to a few adapters that were trained on parts of the corpus.

Rules decided here. K states: the base model, the adapter of all players, and pairs of a drawn coalition of 2 to n - 2
players with its complement, each trained once with a seed of its own. An answer's log-likelihood under each state is
one regression row (the full one counts three times). The additive surrogate is fitted by ridge towards a prior, tier
1's shares of what all data gained; the Shapley value of an additive game is its coefficient. A player's value goes to
his documents as tier 1 divides it, and what they share with an earlier one to that one. An answer that all data made no
likelier has nothing to be divided: its scores are tier 1's.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reference_node.attribution.cache import Cache
from reference_node.attribution.coalitions import answer_values
from reference_node.attribution.corpus import Corpus
from reference_node.attribution.decoder import GroupedLora, flattened, stacked, unflattened
from reference_node.attribution.evaluation import member_matrix
from reference_node.attribution.likelihood import Text, Window, log_likelihoods, padded
from reference_node.attribution.method import Floats, Method, inside_players, player_sums, shares
from reference_node.attribution.retrain import Recipe, fresh_adapter, train_adapters
from reference_node.model import Llama
from reference_node.weights import named_tensors, tensors_sha256

SMALLEST = 2
"""Players in the smallest coalition that is drawn; its complement is the largest."""


@dataclass(frozen=True, slots=True)
class BankPlan:
    """Configuration of a bank.

    Parameters
    ----------
    states
        K, even and at least 4: base, all, and coalitions in pairs.
    seed
        Draws the coalitions; state i is trained with seed + i.
    ridge
        Strength of the prior, in rows.
    full_weight
        Rows that the adapter of all players counts for.
    """

    states: int = 64
    seed: int = 7000
    ridge: float = 3.0
    full_weight: float = 3.0

    def __post_init__(self) -> None:
        if self.states < 4 or self.states % 2 or not self.ridge > 0:
            raise ValueError(f"{self}: states even and at least 4, ridge above 0")

    def coalitions(self, players: int) -> list[int]:
        """Return the states as sums of 2^player: none, all, pairs.

        Raises
        ------
        ValueError
            If so few players have fewer coalitions.
        """
        everybody = (1 << players) - 1
        sizes = [one.bit_count() for one in range(1 << players)] if players <= 16 else []
        room = sum(SMALLEST <= size <= players - SMALLEST for size in sizes) if sizes else self.states
        if self.states - 2 > room:
            raise ValueError(f"{self.states} states of {players} players; allowed 4 to {room + 2}")
        drawn, found = random.Random(self.seed), [0, everybody]
        taken = set(found)
        while len(found) < self.states:
            one = drawn.getrandbits(players)
            if SMALLEST <= one.bit_count() <= players - SMALLEST and one not in taken:
                found += [one, everybody ^ one]
                taken |= {one, everybody ^ one}
        return found


class CoalitionBank:
    """A bank.

    Parameters
    ----------
    model
        Base weights.
    corpus
        Documents and players.
    recipe, plan
        How adapters are trained, and which.
    prior
        Tier 1 on the same corpus.
    cache
        Where adapters are kept; they are trained when first needed.
    recorded
        Where log-likelihoods of queries are kept; nowhere by default.
    window
        How much of an answer is read.
    """

    name = "coalition_bank"

    def __init__(
        self,
        model: Llama,
        corpus: Corpus,
        recipe: Recipe,
        plan: BankPlan,
        prior: Method,
        cache: Cache,
        recorded: Cache | None = None,
        window: Window | None = None,
    ) -> None:
        self.model, self.corpus, self.recipe, self.plan, self.prior = model, corpus, recipe, plan, prior
        self.coalitions = plan.coalitions(corpus.players)
        self.members = member_matrix(np.array(self.coalitions), corpus.players)
        self._base = tensors_sha256(named_tensors(model).items())
        self.cache, self.recorded, self.window = cache, recorded or Cache(), window or Window()

    @cached_property
    def adapters(self) -> GroupedLora:
        """All states but the base's, as groups."""
        return stacked([self.adapter(state) for state in range(1, self.plan.states)])

    @property
    def params(self) -> dict[str, int | str]:
        """K, the seed, ridge in millionths, the window and the prior's name."""
        return {
            "states": self.plan.states,
            "seed": self.plan.seed,
            "ridge_per_million": round(self.plan.ridge * 10**6),
            "window": str(self.window),
            "prior": self.prior.name,
        }

    def outputs(self, queries: Sequence[Text]) -> Floats:
        """Return the log-likelihood of the answers' windows under every state, float64 (queries, states)."""
        queries = [self.window.of(query) for query in queries]
        asked = [[query.start, *query.tokens] for query in queries]
        identity = {"outputs": "bank.v1", "states": self._identities, "queries": asked}
        found = self.recorded.array(identity, lambda: self._outputs(queries))
        return np.asarray(found, np.float64)

    def _outputs(self, queries: Sequence[Text]) -> NDArray[np.float32]:
        batch, adapters = padded(queries, self.model.device), self.adapters
        every = torch.arange(len(queries), device=self.model.device)
        with torch.no_grad():
            base = log_likelihoods(self.model, batch.take(every[None]))
            found = torch.cat([base, answer_values(self.model, adapters, batch)])
        return np.asarray(found.T.cpu().numpy())

    def values(self, queries: Sequence[Text]) -> Floats:
        """Return the fitted value of every player, float64 (queries, players)."""
        return self._fitted(self.outputs(queries), self._net(self.prior.scores(queries)))

    def scores(self, queries: Sequence[Text]) -> Floats:
        """Return the score of every document, float64 (queries, documents)."""
        first, outputs, real = self.prior.scores(queries), self.outputs(queries), self.corpus.real
        net, gain = self._net(first), outputs[:, 1] - outputs[:, 0]
        # what tier 1 gives planted documents, in parts of what all data gained
        whole = np.maximum(first[:, :real], 0.0).sum(axis=1)
        found = np.maximum(first, 0.0) * (gain / np.where(whole > 0, whole, 1.0))[:, None]
        inside = net[:, self.corpus.clusters.leaders[:real]]  # a copy weighs what its original does
        found[:, :real] = inside_players(self._fitted(outputs, net), inside, self.corpus.player_of)
        return np.where((gain > 0)[:, None], self.corpus.folded(found), first)

    def _net(self, scores: Floats) -> Floats:
        """Return tier 1's scores of documents that are not planted, above the null level."""
        real = self.corpus.real
        level = scores[:, real:].max(axis=1, initial=0.0)
        return np.maximum(scores[:, :real] - level[:, None], 0.0)

    def _fitted(self, outputs: Floats, net: Floats) -> Floats:
        prior = shares(player_sums(net, self.corpus.player_of, self.corpus.players))
        return fitted_values(outputs, self.members, prior, self.plan)

    @cached_property
    def _texts(self) -> list[Text]:
        """Documents that are not planted."""
        return self.corpus.texts[: self.corpus.real]

    @cached_property
    def _identities(self) -> list[dict[str, Any]]:
        """What the adapter of each state but the base depends on."""
        return [
            {
                "adapter": "retrain.v1",
                "base": self._base,
                "recipe": asdict(self.recipe),
                "texts": [self._texts[row].tokens for row in self._rows(state)],
                "seed": self.plan.seed + state,
            }
            for state in range(1, self.plan.states)
        ]

    def _rows(self, state: int) -> list[int]:
        return np.flatnonzero(self.members[state][self.corpus.player_of]).tolist()

    def adapter(self, state: int) -> GroupedLora:
        """Return one state's adapter, trained if it is not kept."""
        seed = self.plan.seed + state

        def trained() -> NDArray[np.float32]:
            texts = padded(self._texts, self.model.device)
            return flattened(train_adapters(self.model, texts, [self._rows(state)], [seed], self.recipe))

        flat = self.cache.array(self._identities[state - 1], trained)
        return unflattened(flat, fresh_adapter(self.model, self.recipe, seed))


def fitted_values(outputs: Floats, members: Floats, prior: Floats, plan: BankPlan) -> Floats:
    """Fit the additive surrogate.

    Parameters
    ----------
    outputs
        (queries, states): first the base's, second that of all players.
    members
        Who is in which state, (states, players), 1 or 0.
    prior
        Tier 1's shares, (queries, players).
    plan
        Ridge and weight of the full state.

    Returns
    -------
    numpy.ndarray
        float64 (queries, players).
    """
    gain = np.maximum(outputs[:, 1] - outputs[:, 0], 0.0)
    centre = prior * gain[:, None]
    weights = np.ones(len(members))
    weights[1] = plan.full_weight
    rows = np.column_stack([np.ones(len(members)), members])
    penalty = np.diag([0.0, *[plan.ridge] * members.shape[1]])
    weighted = rows * weights[:, None]
    rest = outputs - centre @ members.T
    fitted = np.linalg.solve(rows.T @ weighted + penalty, weighted.T @ rest.T)
    return np.asarray(centre + fitted[1:].T)
