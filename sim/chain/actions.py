"""Actions: the calls that an action of a proposal is.

Rule decided here: a governed parameter is set in the parameter store, and one that is also a setting of the
governor or the timelock is set there in the same proposal, so that both always say the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sim.chain.clients.governor import QUORUM_DENOMINATOR, Call

if TYPE_CHECKING:
    from sim.chain.deployment import Deployment

BPS = 10_000


def proposal_calls(
    deployment: Deployment, actions: Iterable[tuple[str, tuple[int, ...]]]
) -> tuple[Call, ...]:
    """Return the calls of a proposal.

    Parameters
    ----------
    deployment
        The contracts.
    actions
        Governed paths with the integers to set.

    Returns
    -------
    tuple of Call
        At least one: a proposal that changes nothing pays the timelock nothing.
    """
    calls: list[Call] = []
    for path, values in actions:
        calls.append(Call(deployment.parameters.address, deployment.parameters.set_calldata(path, values)))
        calls += _setting(deployment, path, values)
    return tuple(calls) or (Call(deployment.timelock.address, b""),)


def _setting(deployment: Deployment, path: str, values: tuple[int, ...]) -> list[Call]:
    """Return the setter of the governor or the timelock that a path stands for."""
    governor, timelock, unit = deployment.governor, deployment.timelock, deployment.spec.unit_wei
    setters = {
        "governance.delay": (governor, "setVotingDelay", 1),
        "governance.period": (governor, "setVotingPeriod", 1),
        "governance.threshold": (governor, "setProposalThreshold", unit),
        "governance.quorum": (governor, "updateQuorumNumerator", QUORUM_DENOMINATOR // BPS),
        "governance.timelock": (timelock, "updateDelay", 1),
    }
    if path not in setters:
        return []
    contract, function, scale = setters[path]
    return [Call(contract.address, contract.abi.encode_call(function, values[0] * scale))]


def setting_in_force(deployment: Deployment, path: str) -> int | None:
    """Return what the governor or the timelock itself has for a governed path, in the path's unit; else None."""
    settings, unit = deployment.governor.settings(), deployment.spec.unit_wei
    return {
        "governance.delay": settings["delay_s"],
        "governance.period": settings["period_s"],
        "governance.threshold": settings["threshold_wei"] // unit,
        "governance.quorum": settings["quorum_ppm"] * BPS // QUORUM_DENOMINATOR,
        "governance.timelock": deployment.timelock.delay_seconds(),
    }.get(path)
