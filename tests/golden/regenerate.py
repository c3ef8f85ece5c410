"""Write the behaviour golden anew: `python tests/golden/regenerate.py`, after a change of behaviour that is meant.

The table holds a few observables of a tiny run of the baseline, so that a change that nobody meant is seen.
Amounts are integers, rates have all their digits; the test compares to 1e-6 relative because exp and log differ
in last bits between processors.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from sim.engine import build_economy, run_batch
from sim.scenario import load

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).parent / "behaviour.csv"
AGENTS, DAYS, RUNS = 120, 120, 2
AT = (0, 1, 30, 61, 91, 120)
OBSERVABLES = (
    "price_usd", "circulating_gwei", "float_gwei", "reserve_gwei", "unlocked_gwei", "emission_gwei",
    "staked_gwei", "gopen_supply_gwei", "escrow_gwei", "treasury_gwei", "distributor_gwei", "sold_gwei",
    "bought_gwei", "fee_gross_gwei", "tokens_served", "depth_2pct_usd", "latency_p95_s", "holder_gini",
)  # fmt: skip
Row = tuple[str, int, int, float]


def rows() -> list[Row]:
    """Return (observable, run, day, value) of the tiny run."""
    economy = build_economy(load(ROOT / "scenarios" / "baseline.yaml", [f"days={DAYS}"]), agents=AGENTS)
    metrics = run_batch(economy, np.arange(RUNS)).metrics
    return [
        (name, run, day, metrics[name][run, day].item())
        for name in OBSERVABLES
        for run in range(RUNS)
        for day in AT
    ]


def read() -> list[Row]:
    """Return the committed rows."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    return [(line["observable"], int(line["run"]), int(line["day"]), float(line["value"])) for line in lines]


def main() -> None:
    """Write the table."""
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("observable", "run", "day", "value"))
        writer.writerows((name, run, day, repr(value)) for name, run, day, value in rows())


if __name__ == "__main__":
    main()
