"""`coalition_bank`: values fitted to a few adapters that were trained on parts of the corpus.

Rules decided here. K states: the base model, the adapter of all players, and pairs of a drawn coalition of 2 to n - 2
players with its complement, each trained once with a seed of its own. An answer's log-likelihood under each state is
one regression row (the full one counts three times). The additive surrogate is fitted by ridge towards a prior, tier
1's shares of what all data gained; the Shapley value of an additive game is its coefficient. A player of planted random
documents measures what nothing seems to be worth. Inside a player, tier 1's scores divide the value.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from reference_node.attribution.cache import Cache
from reference_node.attribution.decoder import GroupedLora, stacked
from reference_node.attribution.likelihood import Padded, Text, log_likelihoods, padded
from reference_node.attribution.method import Floats, Ints, Method, inside_players, player_sums, shares
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

    states: int = 48
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
    documents
        Texts of the corpus.
    player_of
        Player of each document, from 0 without gaps.
    recipe, plan
        How adapters are trained, and which.
    prior
        Tier 1 on the same documents.
    cache
        Where adapters are kept.
    """

    name = "coalition_bank"

    def __init__(
        self,
        model: Llama,
        documents: Sequence[Text],
        player_of: Ints,
        recipe: Recipe,
        plan: BankPlan,
        prior: Method,
        cache: Cache,
    ) -> None:
        self.model, self.recipe, self.plan, self.prior = model, recipe, plan, prior
        self.player_of, self.players = np.asarray(player_of, np.int64), int(max(player_of)) + 1
        self.coalitions = plan.coalitions(self.players)
        self.members = np.array(
            [[one >> p & 1 for p in range(self.players)] for one in self.coalitions], np.float64
        )
        self.adapters = stacked([self._adapter(i, documents, cache) for i in range(1, plan.states)])

    @property
    def params(self) -> dict[str, int | str]:
        """K, the seed, ridge in millionths and the prior's name."""
        return {
            "states": self.plan.states,
            "seed": self.plan.seed,
            "ridge_per_million": round(self.plan.ridge * 10**6),
            "prior": self.prior.name,
        }

    @torch.no_grad()
    def outputs(self, queries: Sequence[Text]) -> Floats:
        """Return the answers' log-likelihood under every state, float64 (queries, states)."""
        batch = padded(queries, self.model.device)
        trained = self.plan.states - 1
        rows = batch.take(torch.arange(len(queries), device=self.model.device).expand(trained, -1))
        base = log_likelihoods(
            self.model, batch.take(torch.arange(len(queries), device=self.model.device)[None])
        )
        return torch.cat([base, log_likelihoods(self.model, rows, self.adapters)]).T.double().cpu().numpy()

    def values(self, queries: Sequence[Text]) -> Floats:
        """Return the fitted value of every player, float64 (queries, players)."""
        prior = player_sums(self.prior.scores(queries), self.player_of, self.players)
        return fitted_values(self.outputs(queries), self.members, shares(prior), self.plan)

    def scores(self, queries: Sequence[Text]) -> Floats:
        """Return the score of every document, float64 (queries, documents): its part of its player's value."""
        inside = self.prior.scores(queries)
        prior = shares(player_sums(inside, self.player_of, self.players))
        values = fitted_values(self.outputs(queries), self.members, prior, self.plan)
        return inside_players(values, inside, self.player_of)

    def _adapter(self, state: int, documents: Sequence[Text], cache: Cache) -> GroupedLora:
        """Return one state's adapter, trained if it is not kept."""
        inside = self.members[state][self.player_of] > 0
        rows = np.flatnonzero(inside).tolist()
        seed = self.plan.seed + state
        identity = {
            "adapter": "bank.v1",
            "base": tensors_sha256(named_tensors(self.model).items()),
            "recipe": asdict(self.recipe),
            "texts": [documents[row].tokens for row in rows],
            "seed": seed,
        }

        def build() -> NDArray[np.float32]:
            corpus: Padded = padded(documents, self.model.device)
            return _flat(train_adapters(self.model, corpus, [rows], [seed], self.recipe))

        return _unflat(cache.array(identity, build), self.model, self.recipe)


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


def _flat(lora: GroupedLora) -> NDArray[np.float32]:
    return torch.cat([t.flatten() for store in (lora.a, lora.b) for t in store.values()]).cpu().numpy()


def _unflat(flat: NDArray[np.float32], model: Llama, recipe: Recipe) -> GroupedLora:
    shape = fresh_adapter(model, recipe, 0)
    tensors = [t for store in (shape.a, shape.b) for t in store.values()]
    parts = torch.from_numpy(np.array(flat)).to(model.device).split([t.numel() for t in tensors])
    made = iter(part.view(t.shape) for part, t in zip(parts, tensors, strict=True))
    return GroupedLora({p: next(made) for p in shape.a}, {p: next(made) for p in shape.b}, shape.scale)
