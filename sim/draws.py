"""Keyed random draws: the one registry of decisions, append-only.

Rule decided here: a draw is a function of (seed, stream, run, day, agent) and of nothing else: Philox4x32-10 with
counter (agent, day, run, stream) and the seed as key. The agent word is class code << 24 | index within the class.
The four 32-bit words of a block serve four decisions. Adding a class, a decision, a batch or a worker therefore changes
nobody else's draws. New decisions are appended; a stream or word is never given to another decision.
"""

from __future__ import annotations

from enum import Enum
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.kernels import normal as normals
from sim.kernels import philox

CLASS_CODES = {
    "holders": 1, "users": 2, "contributors": 3, "builders": 4, "operators": 5, "investors": 6, "team": 7,
    "delegates": 8, "traders": 9, "sequencer": 10, "public_goods": 11, "world": 255,
}  # fmt: skip
"""Class code of the agent word; ``world`` is for draws that belong to no agent. Append-only."""


class Decision(Enum):
    """Decision -> (stream, word). Append-only; a value never changes its meaning."""

    # stream 0: fixed traits, drawn once on day 0
    TRAIT_BALANCE = (0, 0)
    TRAIT_TASTE = (0, 1)
    TRAIT_DELEGATION = (0, 2)
    TRAIT_COST = (0, 3)
    TRAIT_BALANCE_B = (1, 0)
    TRAIT_ADOPTION = (1, 1)
    TRAIT_QUERY_CLASS = (1, 2)
    TRAIT_ATTACKER = (1, 3)
    TRAIT_DATANET = (2, 0)
    TRAIT_ADAPTER = (2, 1)
    TRAIT_QUALITY = (2, 2)
    TRAIT_HEDGED = (2, 3)
    # daily decisions of agents
    HOLDER_SELL = (10, 0)
    HOLDER_STAKE = (10, 1)
    HOLDER_WRAP = (10, 2)
    HOLDER_UNSTAKE = (10, 3)
    USER_ACTIVE = (11, 0)
    USER_MODEL = (11, 1)
    USER_VOLUME = (11, 2)
    CONTRIBUTOR_INFLUENCE = (12, 0)
    CONTRIBUTOR_JOIN = (12, 1)
    CONTRIBUTOR_ATTACK = (12, 2)
    BUILDER_QUALITY = (12, 3)
    OPERATOR_ENTRY = (13, 0)
    OPERATOR_EXIT = (13, 1)
    UNLOCK_SELL = (14, 0)
    TRADER_ORDER = (15, 0)
    DELEGATE_ATTRITION = (16, 0)
    VOTE_TURNOUT = (17, 0)
    VOTE_DIRECTION = (17, 1)
    VOTE_DIRECTION_B = (17, 2)
    VOTE_NOISE = (17, 3)
    # draws of the world
    PRICE_SHOCK = (20, 0)
    PRICE_SHOCK_B = (20, 1)
    INFLOW_NOISE = (20, 2)
    PROPOSAL_ARRIVAL = (21, 0)
    PROPOSAL_TOPIC = (21, 1)
    GRANT_OUTCOME = (22, 0)
    PRIOR = (30, 0)
    PRIOR_B = (30, 1)
    TRAIT_HASTE = (3, 0)
    TRAIT_AIRDROP = (3, 1)
    TRAIT_SHARE = (3, 2)
    TRAIT_CORE_VOTER = (4, 0)
    TRAIT_DELEGATE = (4, 1)
    TRAIT_VOTES_ITSELF = (4, 2)
    TRAIT_PAID_MODEL = (5, 0)
    TRAIT_VICTIM = (5, 1)
    TRAIT_SIZE = (5, 2)
    CONTRIBUTOR_DISPUTE = (18, 0)
    CONTRIBUTOR_LEAVE = (18, 1)
    BUILDER_JOIN = (18, 2)
    ATTRIBUTION_SHARES = (18, 3)
    TRAIT_PATIENCE = (5, 3)
    # stream 19 is spent
    # OTE-1, the benchmark of engines
    OTE1_VOTE = (40, 0)
    OTE1_SELL = (40, 1)


_NORMAL = NormalDist()


class Key(NamedTuple):
    """Key and counter of a day's blocks for a class, all uint64, as kernels that draw take them.

    Parameters
    ----------
    seed, stream, day, agent
        Seed, stream of the decisions, day, and agent word of the first agent.
    runs
        Run numbers, (runs,).
    """

    seed: np.uint64
    stream: np.uint64
    runs: NDArray[np.uint64]
    day: np.uint64
    agent: np.uint64


def key(
    seed: int, decision: Decision, runs: NDArray[np.int64], day: int, agent_class: str, first: int = 0
) -> Key:
    """Return the key of the blocks in which a decision has its word.

    Parameters are those of `words`.
    """
    u64 = np.uint64
    agent = (CLASS_CODES[agent_class] << 24) | first
    return Key(u64(seed), u64(decision.value[0]), runs.astype(u64), u64(day), u64(agent))


def below(chance: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return the word from which on a draw is not below a chance: ``uniform < chance`` where ``word < below(chance)``.

    Exact: the uniform of a word is (word + 1/2) / 2^32, and for chances from 2^-33 on neither the scaling nor taking
    1/2 away rounds; a smaller chance is below every uniform.

    Parameters
    ----------
    chance
        Any shape.
    """
    return np.maximum(np.ceil(np.asarray(chance) * 2.0**32 - 0.5), 0.0).astype(np.uint64)


def words(
    seed: int,
    decision: Decision,
    runs: NDArray[np.int64],
    day: int,
    agent_class: str,
    count: int,
    first: int = 0,
) -> NDArray[np.uint32]:
    """Return 32-bit words for agents ``first .. first + count`` of a class.

    Parameters
    ----------
    seed
        The scenario's seed, 0 .. 2^64 - 1.
    decision
        The decision that the words serve.
    runs
        Run numbers, (runs,).
    day
        Day of the simulation; fixed traits use day 0.
    agent_class
        A key of `CLASS_CODES`.
    count, first
        How many agents, and the index of the first within its class.

    Returns
    -------
    numpy.ndarray
        uint32 (runs, count).
    """
    out = philox.new_words(len(runs), count)
    word = np.uint64(decision.value[1])
    philox.philox_words(*key(seed, decision, runs, day, agent_class, first), word, out)
    return out


def uniform(
    seed: int,
    decision: Decision,
    runs: NDArray[np.int64],
    day: int,
    agent_class: str,
    count: int,
    first: int = 0,
) -> NDArray[np.float64]:
    """Return uniforms in (0, 1), float64 (runs, count), each the midpoint of one of 2^32 cells.

    Parameters are those of `words`.
    """
    drawn = words(seed, decision, runs, day, agent_class, count, first)
    return (drawn.astype(np.float64) + 0.5) * 2.0**-32


def normal(
    seed: int,
    decision: Decision,
    runs: NDArray[np.int64],
    day: int,
    agent_class: str,
    count: int,
    first: int = 0,
) -> NDArray[np.float64]:
    """Return standard normals, float64 (runs, count), by the inverse distribution function of one uniform each.

    Parameters are those of `words`.
    """
    u = uniform(seed, decision, runs, day, agent_class, count, first)
    return inverse_normal(u.ravel()).reshape(u.shape)


def inverse_normal(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard normals at distribution values, float64 (draws,), as `NormalDist.inv_cdf` does.

    Parameters
    ----------
    u
        Values between 0 and 1, both excluded, (draws,).
    """
    out, complete = normals.centre(u)
    if not complete:
        tails = np.flatnonzero(np.abs(u - 0.5) > normals.CENTRE)
        out[tails] = [_NORMAL.inv_cdf(value) for value in u[tails].tolist()]
    return out


def philox_reference(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the Philox4x32-10 block in plain Python integers: the reference of `philox.philox_words`.

    Parameters
    ----------
    counter
        Four 32-bit words.
    key
        Two 32-bit words.

    Returns
    -------
    tuple of int
        Four 32-bit words.
    """
    low = 0xFFFFFFFF
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & low, (p0 >> 32) ^ c3 ^ k1, p0 & low
        k0, k1 = (k0 + 0x9E3779B9) & low, (k1 + 0xBB67AE85) & low
    return c0, c1, c2, c3
