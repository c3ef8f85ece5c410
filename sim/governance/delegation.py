"""Delegation: who may vote with whose tokens, drawn once on day 0.

Rule decided here: larger owners delegate more often than small ones (Uniswap: 41 % of holders from 0.1 %
of the supply, 8 % of those below); some of those who delegate vote themselves, the others choose a
delegate by rank with Zipf's weights. Insiders and delegates are large whatever they hold; delegates vote
their own tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.turnout import SELF, UNDELEGATED, delegate_choice, leaves_on
from sim import draws
from sim.accounts import INSTITUTIONS
from sim.draws import Decision
from sim.states.governance import Delegations

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.world import World

Flags = NDArray[np.bool_]
ALWAYS_LARGE = ("investors", "team", "delegates")
"""Classes of large owners."""


def begin(world: World, economy: Economy) -> None:
    """Draw the delegations, the core of voters and the delegates' last days into ``world.governance``."""
    state = world.governance
    delegate_to = np.full(state.core.shape, UNDELEGATED, np.int32)
    small = np.zeros(state.core.shape, bool)
    for name, count in world.layout.counts:
        if not count or name in INSTITUTIONS:
            continue
        columns = world.layout.slice(name)
        large = _large(world, economy, name)
        delegate_to[:, columns] = _delegate_to(world, economy, name, large)
        state.core[:, columns] = _uniform(world, economy, Decision.TRAIT_CORE_VOTER, name) < float(
            economy.scenario.governance.turnout.core.value
        )
        if name in ("holders", "contributors"):
            small[:, columns] = ~large
    first = world.layout.slice("delegates").start
    state.delegations = Delegations.of(delegate_to, small, first)
    gone = _uniform(world, economy, Decision.DELEGATE_ATTRITION, "delegates")
    state.leaves_on[:] = leaves_on(gone, float(economy.scenario.agents.delegates.attrition.value))
    state.gopen_delegated_gwei = state.delegated(world.agent_balance("wrapped"))


def _uniform(world: World, economy: Economy, decision: Decision, name: str) -> NDArray[np.float64]:
    return draws.uniform(economy.seed, decision, world.runs, 0, name, world.layout.count(name))


def _large(world: World, economy: Economy, name: str) -> Flags:
    """Return who is a large owner, bool (runs, agents of the class)."""
    shape = (world.count, world.layout.count(name))
    if name in ALWAYS_LARGE:
        return np.ones(shape, bool)
    if name != "holders":
        return np.zeros(shape, bool)
    held = world.holding.baseline_holding
    threshold = float(economy.scenario.governance.delegation.large_from.value)
    return np.asarray(held >= threshold * held.sum(axis=1, keepdims=True))


def _delegate_to(world: World, economy: Economy, name: str, large: Flags) -> NDArray[np.int32]:
    """Return the choice of a class, int32 (runs, agents of the class)."""
    terms = economy.scenario.governance.delegation
    delegates = world.layout.count("delegates")
    if name == "delegates":
        return np.full(large.shape, SELF, np.int32)
    willing = np.where(large, float(terms.large.value), float(terms.small.value))
    delegating = _uniform(world, economy, Decision.TRAIT_DELEGATION, name) < willing
    itself = _uniform(world, economy, Decision.TRAIT_VOTES_ITSELF, name) < float(terms.votes_itself.value)
    chosen = np.full(large.shape, SELF, np.int32)
    if delegates:
        draw = _uniform(world, economy, Decision.TRAIT_DELEGATE, name)
        chosen = np.where(itself, SELF, delegate_choice(draw, delegates, float(terms.concentration.value)))
    return np.where(delegating, chosen, UNDELEGATED).astype(np.int32)
