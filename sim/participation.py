"""Participation: who takes part in stake and GOPEN.

Rule decided here: of each class that can stake the share that its plan says takes part, rounded up, and these are the
first of the class. The others have nothing on L2 but what they earn there, or what the opening table gave their class.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from sim.accounts import STAKERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.economy import Economy
    from sim.scenario.opening import Opening
    from sim.scenario.schema import Scenario
    from sim.world import Columns

BY_PLAN = ("stake", "unbonding", "wrapped")
"""Accounts that only those have who take part."""
ON_L2 = ("wallet.l2", *BY_PLAN)
"""Accounts out of which those go home who do not take part."""


def taking_part(scenario: Scenario, counts: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Return how many of each class that can stake take part, as pairs (class, agents), given all agents by class."""
    shares = ((name, Fraction(getattr(scenario.agents, name).plan.participate.value)) for name in STAKERS)
    return tuple((name, -(-share.numerator * counts[name] // share.denominator)) for name, share in shares)


def participants(economy: Economy, agent_class: str) -> Columns:
    """Return the columns of those of a class who take part; the rest of the class follows them."""
    first = economy.layout.slice(agent_class).start
    return slice(first, first + dict(economy.taking_part).get(agent_class, 0))


def opened_on_l2(opening: Opening | None) -> frozenset[str]:
    """Return the classes that the opening table gave something on L2, whoever of them takes part."""
    return (
        frozenset(row.agent_class for row in opening.rows if row.account in ON_L2) if opening else frozenset()
    )
