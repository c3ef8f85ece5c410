"""Traits of users, contributors and operators: drawn once by key, never changed.

Rule decided here: who is who. A user's adoption threshold, query class and paid models; a contributor's
DataNet, how much data they bring, and whether they copy another's data or add noise; an operator's kind of machine
and cost. A DataNet serves the query class `DataNet mod classes`, in the order of its number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.apportion import apportion_reference
from models.errors import InputError
from sim import draws
from sim.draws import Decision

if TYPE_CHECKING:
    from sim.economy import Economy

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class UserTraits:
    """Traits of users, all (runs, users).

    Parameters
    ----------
    threshold
        A user is active while the adopted share, in 2^-32, is above this; rising along the users, uint32.
    query_class
        Index of the class of their queries; int16.
    paid
        They use models with an access fee while the share of such models, in 2^-32, is above this; uint32.
    """

    threshold: NDArray[np.uint32]
    query_class: NDArray[np.int16]
    paid: NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class ContributorTraits:
    """Traits of contributors, all (runs, contributors).

    Parameters
    ----------
    datanet
        DataNet that their data lies in.
    size
        How much useful data they bring, 1 for the median; a copier has the size of what was copied.
    origin
        Whose data it is: themselves, or for a copier the victim.
    noise
        Whether their data is noise.
    joins
        Uniform order in which contributors are active on day 0.
    """

    datanet: Int
    size: Float
    origin: Int
    noise: Bool
    joins: Float


def user_traits(economy: Economy, runs: Int) -> UserTraits:
    """Draw the traits of users, who stand in the order in which they adopt."""
    count = economy.layout.count("users")
    classes = len(economy.scenario.demand.popularity.query_classes)
    u = draws.uniform(economy.seed, Decision.TRAIT_QUERY_CLASS, runs, 0, "users", count)
    adoption = draws.words(economy.seed, Decision.TRAIT_ADOPTION, runs, 0, "users", count)
    return UserTraits(
        threshold=np.sort(adoption, axis=1),
        query_class=np.floor(u * classes).astype(np.int16),
        paid=draws.words(economy.seed, Decision.TRAIT_PAID_MODEL, runs, 0, "users", count),
    )


def contributor_traits(economy: Economy, runs: Int) -> ContributorTraits:
    """Draw the traits of contributors."""
    agents = economy.scenario.agents.contributors
    count = economy.layout.count("contributors")

    def uniform(decision: Decision) -> Float:
        return draws.uniform(economy.seed, decision, runs, 0, "contributors", count)

    attack, copy = uniform(Decision.TRAIT_ATTACKER), float(agents.attackers.copy_.value)
    copies = attack < copy
    noise = ~copies & (attack < copy + float(agents.attackers.noise.value))
    datanet = np.floor(uniform(Decision.TRAIT_DATANET) * agents.datanets).astype(np.int64)
    normal = draws.normal(economy.seed, Decision.TRAIT_SIZE, runs, 0, "contributors", count)
    size = np.exp(normal * float(agents.size_sigma.value))
    origin = _origins(copies, noise, uniform(Decision.TRAIT_VICTIM))
    return ContributorTraits(
        datanet=np.take_along_axis(datanet, origin, axis=1),
        size=np.take_along_axis(size, origin, axis=1),
        origin=origin,
        noise=noise,
        joins=uniform(Decision.CONTRIBUTOR_JOIN),
    )


def _origins(copies: Bool, noise: Bool, victim: Float) -> Int:
    """Return whose data each contributor brings; a copier without an honest victim brings their own."""
    origin = np.tile(np.arange(copies.shape[1]), (len(copies), 1))
    for run in range(len(copies)):
        honest = np.flatnonzero(~copies[run] & ~noise[run])
        if honest.size:
            chosen = honest[np.floor(victim[run] * honest.size).astype(np.int64)]
            origin[run] = np.where(copies[run], chosen, origin[run])
    return origin


def operator_kinds(economy: Economy) -> Int:
    """Return the kind of machine that each operator runs, an index into the scenario's fleet, (operators,).

    Operators are divided in proportion to the replicas of each kind, at least one to each, in the fleet's order.

    Raises
    ------
    models.errors.InputError
        If there are fewer operators than kinds.
    """
    count, counts = economy.layout.count("operators"), fleet_counts(economy)
    if count < len(counts):
        raise InputError(
            f"serving.fleet: {len(counts)} kinds of machine need as many operators; {count} are simulated"
        )
    rest = apportion_reference(count - len(counts), counts)
    return np.repeat(np.arange(len(counts)), [1 + part for part in rest])


def first_replicas(economy: Economy, runs: Int) -> tuple[Int, Float]:
    """Return replicas by operator on day 0 and each operator's cost factor, (runs, operators).

    A kind's replicas go round its operators in their order, so the first ones own one more.
    """
    count, kinds = economy.layout.count("operators"), operator_kinds(economy)
    owned = np.zeros(count, np.int64)
    for kind, total in enumerate(fleet_counts(economy)):
        own = kinds == kind
        owned[own] = dealt(np.array([total]), int(own.sum()))[0]
    spread = float(economy.scenario.agents.operators.cost_spread.value)
    u = draws.uniform(economy.seed, Decision.TRAIT_COST, runs, 0, "operators", count)
    return np.tile(owned, (len(runs), 1)), 1.0 + spread * (2.0 * u - 1.0)


def fleet_counts(economy: Economy) -> list[int]:
    """Return the replicas of each kind of machine on day 0."""
    return [int(part.count) for part in economy.scenario.serving.fleet]


def dealt(total: Int, owners: int) -> Int:
    """Return whole things dealt to owners in turn, (runs, owners); `total` is (runs,)."""
    return np.asarray(total[:, None] // owners + (np.arange(owners) < (total % owners)[:, None]))
