"""Synthetic batches and run directories: numbers that can be checked by hand, without an engine."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from sim.batch import TABLES, BatchResult
from sim.observables import OBSERVABLES
from sim.results.assembly import assemble
from sim.results.code import artifacts_sha256, code_version
from sim.results.directory import PARAMETERS, RESOLVED
from sim.results.manifest import (
    ChainFacts,
    Manifest,
    ParameterCounts,
    PricedFor,
    ProfileFacts,
    Timing,
    TwinFacts,
)
from sim.results.origin import Origin
from sim.results.shards import BASE, encode
from sim.results.shards import land as land_shard

START = date(2025, 9, 8)
DAYS = 400
GWEI = 10**9
NULL = "attribution_overhead"


def batch(
    runs: list[int], days: int = DAYS, shift: float = 0.0, witness: bool = False, executed: bool = True
) -> BatchResult:
    """Run r costs 1 + r + shift every day; amounts rise by a token a day; monthly columns are monthly."""
    numbers = np.array(runs, np.int64)
    day = np.arange(days + 1)
    metrics: dict[str, np.ndarray] = {}
    for observable in OBSERVABLES:
        if observable.name.endswith("_gwei"):
            metrics[observable.name] = (numbers[:, None] * 100 + 1000 + day[None, :]) * GWEI
            continue
        values = np.tile((1.0 + numbers + shift)[:, None], (1, days + 1))
        if observable.monthly:
            values[:, [d for d in range(days + 1) if d not in month_ends(days)]] = np.nan
        metrics[observable.name] = values
    metrics[NULL][:] = np.nan
    metrics["conservation_residual_gwei"][:] = 0
    metrics["fee_gross_usd"][:] = 10.0
    return BatchResult(
        runs=numbers, metrics=metrics, groups=groups(runs, days), events=events(runs), residual_gwei=0,
        accounts=accounts(runs[0], days) if witness else {}, flows=flows(runs[0], days) if witness else {},
        chain=chain(runs[0]) if witness and executed else {}, usd=usd(runs),
        chain_summary=chain_summary(runs[0]) if witness and executed else None,
    )  # fmt: skip


def month_ends(days: int) -> list[int]:
    return [day for day in (30, 61, 91, 122, 153, 181, 212, 242, 273, 303, 334, 365, 395) if day <= days]


def groups(runs: list[int], days: int) -> dict[str, list[object]]:
    rows = [
        (run, day, name, decile, 10, (1000 + day) * GWEI * max(decile, 1), 5 * GWEI)
        for day in month_ends(days)
        for run in runs
        for name, decile in [("holders", 0), ("team", 0), *(("holders", k) for k in range(1, 11))]
    ]
    return columns(("run", "day", "class", "decile", "agents", "holding_gwei", "income_gwei"), rows)


def events(runs: list[int]) -> dict[str, list[object]]:
    rows = [(run, 100, "executed", "proposal 1", '{"fees.burn": "100"}') for run in runs if run % 2 == 0]
    return columns(("run", "day", "kind", "subject", "detail"), rows)


def accounts(run: int, days: int) -> dict[str, list[object]]:
    rows = [(run, day, "treasury.l2", "l2", day * GWEI) for day in month_ends(days)]
    return columns(("run", "day", "account", "chain", "amount_gwei"), rows)


def flows(run: int, days: int) -> dict[str, list[object]]:
    rows = [
        row
        for day in month_ends(days)
        for row in (
            (run, day, "B2", "clearing", "treasury.l2", 7 * GWEI),
            (run, day, "M1", "wallet.l1/holders", "venue", 3 * GWEI),
        )
    ]
    return columns(("run", "day", "flow", "source", "target", "amount_gwei"), rows)


def chain(run: int) -> dict[str, list[object]]:
    known = {
        "run": [run], "epoch": [1], "date": [date(2025, 10, 8)], "account": ["treasury.l2"], "chain": ["l2"],
        "ledger_gwei": [10**18], "chain_wei": [10**27], "diff_wei": [0],
    }  # fmt: skip
    return {name: known.get(name, [0]) for name in TABLES["chain"]}


def usd(runs: list[int]) -> dict[str, list[object]]:
    return columns(
        ("run", "month", "class", "purpose", "micro_usd"),
        [(run, 0, "users", "purchase", 10**6) for run in runs],
    )


def columns(names: tuple[str, ...], rows: list[tuple[object, ...]]) -> dict[str, list[object]]:
    return {name: [row[index] for row in rows] for index, name in enumerate(names)}


def chain_summary(run: int) -> dict[str, object]:
    return {
        "executed": True, "witness_run": run, "transactions": 9, "reconciled_epochs": 13,
        "max_abs_diff_wei": 0,
    }  # fmt: skip


def unlocks(days: int = DAYS) -> pl.DataFrame:
    """Community: 100 tokens at once and 1 a day; team: nothing for 365 days, then 50 at once."""
    span = range(days + 63)
    dates = pl.date_range(START, START.fromordinal(START.toordinal() + days + 62), eager=True)
    parts = [
        ("community", [100 * GWEI + day * GWEI for day in span]),
        ("team", [50 * GWEI if day >= 366 else 0 for day in span]),
    ]
    return pl.concat(
        [
            pl.DataFrame({"day": span, "date": dates}, schema_overrides={"day": pl.Int64}).with_columns(
                pl.lit(name).alias("bucket"),
                pl.lit(name).alias("role"),
                pl.Series("vested_gwei", values, pl.Int64),
            )
            for name, values in parts
        ]
    )


def manifest(runs: int, days: int = DAYS, **changes: object) -> Manifest:
    plain = Manifest(
        status="running", name="toy", scenario="toy.yaml", command="olsim run toy.yaml",
        start=START.isoformat(),
        scenario_sha256="a" * 64, world_sha256="b" * 64, code_version=code_version(), packages={"numpy": "2"},
        seed=7, runs=runs, agents=50, days=days, artifacts_sha256=artifacts_sha256(),
        profile=ProfileFacts(
            id="cpu-toy", sha256="c" * 64, measured=True, created="2026-01-02T03:04", device="CPU",
            model="llama",
            model_params=5_000_000,
        ),
        priced_for=PricedFor(model="8B dense", params=8_000_000_000),
        chain=ChainFacts(executed=True, witness_run=0, transactions=9, reconciled_epochs=13),
        twins=TwinFacts(names=("no_unlock",), runs=min(2, runs)),
        parameters=ParameterCounts(total=4, documented=1, estimated=1, illustrative=2),
        timing=Timing(wall_s=1.0, agent_steps_per_s=2.0),
    )  # fmt: skip
    return plain.model_copy(update=changes)


def side_files(directory: Path) -> None:
    rows = (
        '[{"path": "token.cap", "value": "1000 OPEN", "evidence": "documented", "place": "toy.yaml:3:8"},'
        ' {"path": "fees.burn", "value": "2025-09-08: 0 %; 2026-01-01: 1 %", "evidence": "illustrative",'
        ' "place": "toy.yaml:9:3"},'
        ' {"path": "demand.tokens", "value": "5", "evidence": "estimated"},'
        ' {"path": "market.outside_net_inflow", "value": "triangular(0, 1, 2)", "evidence": "illustrative"}]'
    )
    (directory / PARAMETERS).write_text(rows, encoding="utf-8")
    (directory / RESOLVED).write_text("name: toy\n", encoding="utf-8")


def land(directory: Path, arm: str, result: BatchResult, wall_s: float = 1.0) -> None:
    """Land a batch as the unit of work that `manifest` speaks of."""
    land_shard(directory, encode(arm, result, START, wall_s, Origin.of(manifest(1))))


def run_directory(directory: Path, runs: int = 4, days: int = DAYS) -> Path:
    """Write a complete run directory: witness run, the others, and a twin half a dollar cheaper."""
    directory.mkdir(parents=True)
    side_files(directory)
    land(directory, BASE, batch([0], days, witness=True))
    land(directory, BASE, batch(list(range(1, runs)), days))
    land(directory, "no_unlock", batch([0, 1], days, shift=-0.5))
    assemble(directory, manifest(runs, days), unlocks(days))
    return directory
