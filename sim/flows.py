"""Permitted flows: which account may pay which, in which phase of the day.

Rule decided here: the table of flows (documentation: docs/economy.md). A move that is not in this table does not
exist: the ledger refuses it. A flow with several legs lists each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache

from sim.accounts import AGENT_CLASSES, INSTITUTIONS, STAKERS


@dataclass(frozen=True, slots=True)
class Leg:
    """One permitted move of a flow.

    Parameters
    ----------
    source, target
        Account names; ``*`` matches one part or more.
    source_classes, target_classes
        Agent classes whose balances may take part; empty means every class. ``*`` among them lets a move speak of all
        agents at once: to whom of the others it gives anything is found the same day, because the daily audit does
        not look there (`sim/reach.py`) while the books count it.
    """

    source: str
    target: str
    source_classes: tuple[str, ...] = ()
    target_classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Flow:
    """One row of the table: its id, the phases in which it may run, and its legs."""

    id: str
    phases: tuple[str, ...]
    legs: tuple[Leg, ...]

    def permits(self, source: str, source_class: str, target: str, target_class: str) -> bool:
        """Whether some leg of this flow allows the move (classes are "" for world accounts)."""
        return any(
            fnmatchcase(source, leg.source)
            and fnmatchcase(target, leg.target)
            and (not leg.source_classes or source_class in leg.source_classes)
            and (not leg.target_classes or target_class in leg.target_classes)
            for leg in self.legs
        )


def _flow(id_: str, phases: str, *legs: Leg) -> Flow:
    return Flow(id_, tuple(phases.split()), legs)


_STAKE = (*STAKERS, "*")
_LEAVE = (*STAKERS, "operators", "*")
"""Whoever is on L2 to earn or to hold goes home over the bridge; who uses the service spends what is there."""
_OWNERS = ("contributors",)
"""Owners of data: those whose copies are slashed, and who put up bonds."""

_ANY = (
    "unlock emission demand serving billing attribution operators staking holders market bridge governance "
    "grants settle"
)

_TABLE = (
    _flow("G1", "genesis", Leg("mint", "vesting.*")),
    _flow(
        "U1", "unlock",
        Leg("vesting.community", "pool.community.l1"), Leg("vesting.ecosystem", "pool.ecosystem.l1"),
    ),
    _flow(
        "U2", "unlock",
        Leg("vesting.investors", "wallet.l1", target_classes=("investors",)),
        Leg("vesting.team", "wallet.l1", target_classes=("team",)),
    ),
    _flow("U3", "unlock", Leg("vesting.liquidity", "venue"), Leg("vesting.liquidity", "market_maker")),
    _flow(
        "U4", "bridge",
        Leg("pool.community.l1", "transit_deposit.pool.community"),
        Leg("transit_deposit.pool.community", "pool.community.l2"),
        Leg("pool.ecosystem.l1", "transit_deposit.pool.ecosystem"),
        Leg("transit_deposit.pool.ecosystem", "pool.ecosystem.l2"),
    ),
    _flow("E1", "emission", Leg("pool.community.l1", "wallet.l1", target_classes=("holders",))),
    _flow("E2", "emission", Leg("pool.community.l2", "distributor")),
    _flow("E3", "emission", Leg("pool.community.l2", "staking_rewards")),
    _flow("E4", "emission", Leg("pool.community.l2", "operators_pot")),
    _flow(
        "D1", "demand",
        Leg("wallet.l2", "prepaid", ("users",), ("users",)), Leg("prepaid", "wallet.l2", ("users",), ("users",)),
    ),
    _flow("B1", "billing", Leg("prepaid", "clearing", ("users",))),
    _flow("B2", "billing", Leg("clearing", "operators_pot"), Leg("clearing", "treasury.l2")),
    _flow("B3", "billing", Leg("clearing", "distributor")),
    _flow("B4", "billing", Leg("clearing", "staking_rewards")),
    _flow("B5", "billing", Leg("clearing", "distributor")),
    _flow("B6", "billing", Leg("clearing", "burned.l2")),
    _flow("A1", "attribution", Leg("distributor", "treasury.l2")),
    _flow(
        "A2", "attribution",
        Leg("stake", "treasury.l2", _OWNERS), Leg("stake", "burned.l2", _OWNERS),
        Leg("stake", "wallet.l2", _OWNERS),
    ),
    _flow(
        "A3", "attribution",
        Leg("wallet.l2", "bond", _OWNERS, _OWNERS), Leg("bond", "wallet.l2", _OWNERS),
    ),
    _flow("O1", "operators", Leg("operators_pot", "wallet.l2", target_classes=("operators",))),
    _flow(
        "S1", "staking holders",
        Leg("wallet.l2", "stake", _STAKE, _STAKE), Leg("stake", "unbonding", _STAKE, _STAKE),
        Leg("unbonding", "wallet.l2", _STAKE, _STAKE),
    ),
    _flow(
        "S2", "staking",
        Leg("staking_rewards", "stake", target_classes=_STAKE),
        Leg("staking_rewards", "wallet.l2", target_classes=_STAKE),
    ),
    _flow(
        "H1", "holders",
        Leg("wallet.l2", "wrapped", _STAKE, _STAKE), Leg("wrapped", "wallet.l2", _STAKE, _STAKE),
    ),
    _flow("M1", "market", Leg("wallet.l1", "venue"), Leg("venue", "wallet.l1"), Leg("treasury.l1", "venue")),
    _flow("M2", "market", Leg("market_maker", "venue"), Leg("venue", "market_maker")),
    _flow("M3", "market", Leg("venue", "treasury.l1"), Leg("treasury.l1", "burned.l1")),
    _flow("X1", "bridge", Leg("wallet.l1", "transit_deposit"), Leg("transit_deposit", "wallet.l2")),
    _flow(
        "X2", "bridge",
        Leg("wallet.l2", "transit_withdraw", _LEAVE, _LEAVE), Leg("transit_withdraw", "wallet.l1", _LEAVE, _LEAVE),
        Leg("treasury.l2", "transit_withdraw.treasury"), Leg("transit_withdraw.treasury", "treasury.l1"),
    ),
    _flow(
        "X3", "bridge",
        Leg("wallet.l2", "fastbridge.l2", _LEAVE), Leg("fastbridge.l1", "wallet.l1", target_classes=_LEAVE),
    ),
    _flow(
        "X4", "bridge",
        Leg("fastbridge.l2", "transit_withdraw.fastbridge"), Leg("transit_withdraw.fastbridge", "fastbridge.l1"),
        Leg("market_maker", "fastbridge.l1"),
    ),
    _flow(
        "V1", "governance",
        *(
            Leg(source, target)
            for source in ("treasury.l2", "pool.*.l2")
            for target in ("treasury.l2", "pool.*.l2", "distributor", "operators_pot", "staking_rewards",
                           "fastbridge.l2", "burned.l2", "wallet.l2")
        ),
    ),
    _flow(
        "R1", "grants",
        Leg("pool.ecosystem.l2", "wallet.l2", target_classes=("builders", "contributors", "public_goods")),
    ),
    _flow("C1", "settle", Leg("distributor", "wallet.l2")),
    _flow(
        "C2", _ANY,
        Leg("wallet.l2", "gas_vault"), Leg("gas_vault", "wallet.l2", target_classes=("sequencer",)),
        Leg("gas_vault", "treasury.l2"),
    ),
)  # fmt: skip

FLOWS = {flow.id: flow for flow in _TABLE}
"""Every permitted flow by id."""


@cache
def classes_of(account: str) -> frozenset[str]:
    """Return the classes to whose balances of an agent account some flow leads."""
    found: set[str] = set()
    for flow in _TABLE:
        for leg in flow.legs:
            if fnmatchcase(account, leg.target):
                found.update(leg.target_classes or (*AGENT_CLASSES, *INSTITUTIONS))
    return frozenset(found - {"*"})
