"""Quality figures: what methods find and pay, against exact Shapley values and unseen seeds.

Rules decided here. LDS is taken over coalitions of half of the players. `lds_over_ceiling` sees only seeds that no
adapter of the bank was trained with and coalitions that the bank does not hold, and divides by what one seed's truth
says of another's on the same coalitions. Everything else compares what is paid, after null level, clusters and clip,
with the clipped Shapley shares of the truth. Figures are of the quotient game; those by identity stand beside them.
"""

from __future__ import annotations

from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np

from reference_node.attribution.bench.rig import Rig, Scored
from reference_node.attribution.evaluation import Figure, figure, lds, spearman, total_variation
from reference_node.attribution.method import Floats, Ints, shares
from reference_node.attribution.sampled import sampling_error
from reference_node.bench.figure import bench_figure

EPOCH_ANSWERS, EPOCHS, EPOCH_SEED = 1000, 200, 23
TIER1, TIER2 = "ef_spans", "coalition_bank"
SPANS_ALONE = ("poa_llm", "spans")


class Quality:
    """All methods on one fixture and game, measured.

    Parameters
    ----------
    rig
        The fixture, the game and the configuration.
    """

    def __init__(self, rig: Rig) -> None:
        self.rig, self.target = rig, rig.target
        self.scored = {name: score() for name, score in rig.methods().items()}
        players = self.target.players
        halves = {players // 2, (players + 1) // 2}
        self.coalitions: Ints = np.array([c for c in range(1 << players) if c.bit_count() in halves])
        tables = [rig.table(values)[:, self.coalitions] for values in rig.world.values]
        self.seeds = [table for table in tables if np.isfinite(table).all()]

    def table(self) -> dict[str, dict[str, Figure]]:
        """Return all measures of all methods, and those of one unseen seed's retraining in the last row."""
        found = {name: self.measures(one) for name, one in self.scored.items()}
        unseen = self.rig.table(self.rig.world.values[-1])
        exact = type(self.target)(unseen, self.target.noise).shapley
        return found | {"one_seed_retrained": self.measures(Scored(exact, shares(exact)))}

    def measures(self, scored: Scored) -> dict[str, Figure]:
        """Return LDS, rho, top-1, TV and noise of one method."""
        outputs = self.target.table[:, self.coalitions]
        found = {"lds": lds(scored.values, outputs, self.coalitions)}
        return {name: figure(rows) for name, rows in (found | self.target.measures(scored.paid)).items()}

    def ceiling(self, coalitions: np.ndarray[Any, np.dtype[np.bool_]]) -> Floats:
        """Return LDS of one seed's truth against another's on some of the coalitions, meaned over pairs, by query."""
        pairs = combinations([seed[:, coalitions] for seed in self.seeds], 2)
        return np.mean([spearman(one, other) for one, other in pairs], axis=0)

    def unseen_lds(self, values: Floats, coalitions: np.ndarray[Any, np.dtype[np.bool_]]) -> Floats:
        """Return LDS against single seeds on some of the coalitions, meaned over seeds, by query."""
        chosen = self.coalitions[coalitions]
        return np.mean([lds(values, seed[:, coalitions], chosen) for seed in self.seeds], axis=0)

    def over_ceiling(self) -> dict[str, Any]:
        """Return tier 2's LDS over the ceiling, on coalitions outside the bank and on all of them."""
        values, every = self.scored[TIER2].values, np.ones(len(self.coalitions), np.bool_)
        outside = ~np.isin(self.coalitions, self.rig.bank.coalitions)
        found: dict[str, Any] = {}
        for name, chosen in (("outside_bank", outside), ("all", every)):
            top, bottom = self.unseen_lds(values, chosen), self.ceiling(chosen)
            found[name] = {
                "ratio": float(top.mean() / bottom.mean()),
                "ratio_se": _ratio_error(top, bottom),
                "lds": asdict(figure(top)),
                "ceiling": asdict(figure(bottom)),
                "coalitions": int(chosen.sum()),
            }
        return found

    def sampled(self) -> dict[str, float]:
        """Return the error of epochs in which tier 2 looks at the configured part of the answers."""
        rate = self.rig.configuration.sampled_per_million / 10**6
        first, second = self.scored[TIER1].paid, self.scored[TIER2].paid
        exact = shares(self.target.shapley)
        found = sampling_error(
            first, second, exact, rate, answers=EPOCH_ANSWERS, epochs=EPOCHS, seed=EPOCH_SEED
        )
        return {"rate": rate, "answers": EPOCH_ANSWERS} | found

    def over_spans(self) -> dict[str, Any]:
        """Return by how many standard errors tier 1 mis-pays less than the better of two span methods."""
        exact = shares(self.target.shapley)
        tv = {name: total_variation(self.scored[name].paid, exact) for name in (TIER1, *SPANS_ALONE)}
        best = min(SPANS_ALONE, key=lambda name: float(tv[name].mean()))
        less = figure(tv[best] - tv[TIER1])
        return {
            "value": less.value / less.error,
            "spans": best,
            "tv": {name: asdict(figure(rows)) for name, rows in tv.items()},
            "tv_less": asdict(less),
        }


def quality_figures(one: Quality, by_identity: Quality, two: Quality) -> list[dict[str, Any]]:
    """Return the quality figures of the bench.

    Parameters
    ----------
    one, by_identity
        Fixture one, quotient game and by identity.
    two
        Fixture two, quotient game.
    """
    table, identity = one.table(), by_identity.table()
    used = one.rig.configuration
    common = {"k": used.bank.states, "policy": used.policy.split, "null_level": used.policy.null_level}
    over, spans = one.over_ceiling(), two.over_spans()

    def paid(name: str, method: str, measure: str, unit: str, better: str, bar: float) -> dict[str, Any]:
        found = table[method][measure]
        detail = common | {"se": found.error, "by_identity": asdict(identity[method][measure])}
        return bench_figure(f"f1.{name}.{measure}", found.value, unit, better, bar, detail)

    ratio = over["outside_bank"]["ratio"]
    detail = common | over | {"by_identity": by_identity.over_ceiling()}
    tv = paid("tier2", TIER2, "tv", "share", "lower", 0.15)
    tv["detail"] |= {"sampled": one.sampled(), "table": _rows(table), "table_by_identity": _rows(identity)}
    rho = paid("tier2", TIER2, "rho", "correlation", "higher", 0.68)
    rho["id"] = "f1.tier2.shapley_rho"
    top = paid("tier2", TIER2, "top1", "share", "higher", 0.81)
    noise = paid("tier2", TIER2, "noise", "share", "lower", 0.01)
    noise["id"] = "f1.tier2.noise_share"
    second = common | {key: spans[key] for key in ("spans", "tv", "tv_less")} | {"table": _rows(two.table())}
    return [
        bench_figure("f1.tier2.lds_over_ceiling", ratio, "ratio", "higher", 0.97, detail),
        tv,
        rho,
        top,
        noise,
        paid("tier1", TIER1, "tv", "share", "lower", 0.20),
        bench_figure("f2.tier1_over_spans_se", spans["value"], "standard errors", "higher", 2.0, second),
    ]


def _rows(table: dict[str, dict[str, Figure]]) -> dict[str, dict[str, list[float]]]:
    """Return a table as plain numbers: value and standard error."""
    return {
        method: {name: [round(one.value, 4), round(one.error, 4)] for name, one in row.items()}
        for method, row in table.items()
    }


def _ratio_error(top: Floats, bottom: Floats) -> float:
    """Return the standard error of a ratio of means over the same queries."""
    ratio = top.mean() / bottom.mean()
    return figure((top - ratio * bottom) / bottom.mean()).error
