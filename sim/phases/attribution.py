"""Attribution: the contributors' part of the bills, by influence over deduplicated clusters.

Rules decided here. On the first day of a month an audit looks for copied data, disputes open, and the
month's weights are fixed: a DataNet's share of each query class from the influence profile, divided inside
the DataNet by the value of each cluster (policy in `models/attribution.py`). Every day the pots of all
classes are divided by them. The part of answers on which no data had influence goes to the treasury. Found
copiers are paid nothing more and slashed once; where the slash goes to the challenger, that is the owner whose
dispute over the copy is open, and the treasury where nobody disputed it. Whoever loses a dispute pays: the bond
goes back to an owner who was right, and otherwise to the accused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.attribution import class_parts, slashed
from sim import draws
from sim.draws import Decision
from sim.influence import month_shares
from sim.kernels import shares, worth
from sim.kernels.apportion import apportion
from sim.ledger import at, move, move_some
from sim.payouts import pay_out
from sim.picks import Picks
from sim.rates import begins_month, on

if TYPE_CHECKING:
    from sim.economy import Economy
    from sim.world import World

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


def advance(world: World, economy: Economy) -> None:
    """Audit and weigh once a month, decide disputes, divide the day's pots (flows A1 to A3)."""
    if begins_month(world, economy):
        _audit(world, economy)
        _open_disputes(world, economy)
        _weigh(world, economy)
    _decide_disputes(world, economy)
    _divide(world)


def _words(world: World, economy: Economy, decision: Decision) -> NDArray[np.uint32]:
    count = world.layout.count("contributors")
    return draws.words(economy.seed, decision, world.runs, world.day, "contributors", count)


def _falls(world: World, economy: Economy, decision: Decision, chance: float) -> Bool:
    """Return for whom of the contributors a chance comes true today."""
    return np.asarray(_words(world, economy, decision) < draws.below(np.asarray(chance)))


def _hidden(world: World) -> Bool:
    """Return the active copiers that nobody has found."""
    usage = world.usage
    copies = usage.contributors.origin != np.arange(usage.contributors.origin.shape[1])
    return np.asarray(copies & usage.contributor_active & ~usage.detected)


def _audit(world: World, economy: Economy) -> None:
    """Find copied data by its likeness to what is registered."""
    detection = float(economy.scenario.attribution.detection.value)
    found = _falls(world, economy, Decision.CONTRIBUTOR_ATTACK, detection)
    _punish(world, economy, _hidden(world) & found)


def _punish(world: World, economy: Economy, guilty: Bool) -> None:
    """Mark copiers as found and slash their stake (flow A2)."""
    if not guilty.any():
        return
    world.usage.detected |= guilty
    part = slashed(
        world.agent_balance("stake", "contributors"), on(world, "attribution.slash.duplicate"), guilty
    )
    to = economy.scenario.attribution.slash.to
    stake = at("stake", "contributors")
    if to == "challenger":
        challenged = np.where(world.usage.dispute_day > 0, part, 0)
        part = part - challenged
        wallet = at("wallet.l2", "contributors")
        move(world, "A2", stake, wallet, challenged, received=_by_owner(world, challenged))
    move(world, "A2", stake, at("burned.l2" if to == "burn" else "treasury.l2"), part)


def _open_disputes(world: World, economy: Economy) -> None:
    """Let owners of copied data put up a bond for each copy and ask for a decision (flow A3).

    Who cannot pay the bond of all their disputes divides what the wallet holds among them.
    """
    usage, terms = world.usage, economy.scenario.attribution.dispute
    asking = _falls(world, economy, Decision.CONTRIBUTOR_DISPUTE, float(terms.rate.value))
    run, copier = np.nonzero(_hidden(world) & asking & (usage.dispute_day == 0))
    if not run.size:
        return
    usage.dispute_day[run, copier] = world.day + terms.window.value.days
    owner = usage.contributors.origin[run, copier] + world.layout.slice("contributors").start
    where = run * world.layout.agents + owner
    _, place, disputes = np.unique(where, return_inverse=True, return_counts=True)
    bond = world.agent_balance("wallet.l2").reshape(-1)[where] // disputes[place]
    bond = np.minimum(bond, int(terms.bond.value))
    usage.dispute_bond[run, copier] = bond
    move_some(world, "A3", at("wallet.l2", "contributors"), at("bond", "contributors"), Picks(where, bond))


def _by_owner(world: World, amounts: Int) -> Int:
    """Return amounts that stand at copiers added up at those whose data they copied, (runs, contributors)."""
    out = np.zeros_like(amounts)
    run, copier = np.nonzero(amounts)
    np.add.at(out, (run, world.usage.contributors.origin[run, copier]), amounts[run, copier])
    return out


def _decide_disputes(world: World, economy: Economy) -> None:
    """Decide what falls due today: bonds go back to owners who were right, the others to the accused (flow A3)."""
    usage = world.usage
    due = usage.dispute_day == world.day
    if world.day == 0 or not due.any():
        return
    detection = float(economy.scenario.attribution.detection.value)
    found = _falls(world, economy, Decision.CONTRIBUTOR_DISPUTE, detection)
    _punish(world, economy, due & found & ~usage.detected)
    won = np.where(due & usage.detected, usage.dispute_bond, 0)
    lost = np.where(due & ~usage.detected, usage.dispute_bond, 0)
    usage.dispute_day[due] = 0
    usage.dispute_bond[due] = 0
    bond, wallet = at("bond", "contributors"), at("wallet.l2", "contributors")
    move(world, "A3", bond, wallet, _by_owner(world, won))
    move(world, "A3", bond, wallet, _by_owner(world, lost), received=lost)


def _weigh(world: World, economy: Economy) -> None:
    """Fix the month's weights of every contributor in every query class."""
    usage, of_nets = world.usage, _datanet_shares(world, economy)
    worth.weigh(of_nets, usage.contributors.datanet, _values(world, economy), usage.class_weights)


def _datanet_shares(world: World, economy: Economy) -> Float:
    """Return each DataNet's share of each class this month, (runs, classes, DataNets).

    DataNet d belongs to class d mod classes and has rank d // classes there; ranks that the profile lacks
    earn nothing.
    """
    profile, nets = world.usage.influence, economy.scenario.agents.contributors.datanets
    classes, ranks = profile.mean_shares.shape
    normal = draws.normal(
        economy.seed, Decision.ATTRIBUTION_SHARES, world.runs, world.day, "world", classes * ranks
    ).reshape(world.count, classes, ranks)
    drawn = month_shares(profile, normal)
    out = np.zeros((world.count, classes, nets))
    for net in range(min(nets, classes * ranks)):
        out[:, net % classes, net] = drawn[:, net % classes, net // classes]
    return out


def _values(world: World, economy: Economy) -> Float:
    """Return the value of every active cluster above the noise floor, at its first registration."""
    usage, traits = world.usage, world.usage.contributors
    honest = usage.contributor_active & ~traits.noise
    mean = np.where(honest, traits.size, 0.0).sum(axis=1) / np.maximum(honest.sum(axis=1), 1)
    floor = float(economy.scenario.attribution.noise_floor.value) * mean
    found = np.empty(traits.size.shape)
    worth.values(
        usage.contributor_active & ~usage.detected,
        traits.noise,
        traits.size,
        _words(world, economy, Decision.CONTRIBUTOR_INFLUENCE),
        floor,
        found,
    )
    return found


def _divide(world: World) -> None:
    """Divide the day's pots; nothing of them stays behind."""
    usage = world.usage
    nobody = usage.class_pot // 10_000 * usage.influence.no_influence_bps
    nobody += usage.class_pot % 10_000 * usage.influence.no_influence_bps // 10_000
    earning = np.empty(world.count, np.bool_)
    shares.mix(
        class_parts(usage.class_pot - nobody, apportion),
        usage.class_weights,
        usage.contributor_weights,
        earning,
    )
    unowned, pot = nobody.sum(axis=1), world.dust.copy()
    paid = pay_out(world, "contributors", np.where(earning, pot - unowned, 0), usage.contributor_weights)
    move(world, "A1", at("distributor"), at("treasury.l2"), pot - paid)
    world.dust -= pot
    usage.class_pot[:] = 0
