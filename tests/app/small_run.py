"""A small synthetic run directory for the dashboard: every table filled, money that balances, known numbers."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from ruamel.yaml import YAML

from sim.batch import TABLES, BatchResult
from sim.observables import OBSERVABLES
from sim.report.document import write_report
from sim.results import load_run
from sim.results.assembly import assemble
from sim.results.code import artifacts_sha256, code_version, file_sha256
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
from sim.results.shards import BASE, encode, land

START = date(2025, 9, 8)
DAYS = 120
RUNS = 6
GWEI = 10**9
MILLION = 10**6 * GWEI
MONTH_ENDS = (30, 61, 91)
BUCKETS = ("community", "ecosystem", "liquidity", "investors", "team")
CLASSES = (
    "holders",
    "users",
    "contributors",
    "builders",
    "operators",
    "investors",
    "team",
    "delegates",
    "traders",
)
NULL = "attribution_overhead"
PROFILE = Path(__file__).resolve().parents[2] / "reference_node" / "profiles" / "cpu.json"

GWEI_LEVELS = {
    "total_supply_gwei": 1000.0, "unlocked_gwei": 300.0, "locked_gwei": 700.0, "circulating_gwei": 110.0,
    "circulating_tracker_gwei": 300.0, "reserve_gwei": 190.0, "burned_gwei": 0.0, "float_gwei": 60.0,
    "unlock_flow_gwei": 0.3, "emission_gwei": 0.1, "sold_gwei": 0.2, "bought_gwei": 0.2,
}  # fmt: skip
"""Millions of tokens on day 0."""
LEVELS = {
    "price_usd": 0.5, "usage_cover": 0.25, "fee_gross_usd": 800.0, "usage_topup_usd": 900.0,
    "unlock_sold_usd": 4000.0, "outside_inflow_usd": 3000.0, "quorum_bps": 500.0, "fees_platform_bps": 1000.0,
    "split_model_weight": 2.0, "split_stakers_weight": 2.0, "split_contributors_weight": 5.0,
    "turnout_gopen": 0.08, "turnout_delegated": 0.12, "turnout_circulating": 0.01, "quorum_margin": 0.6,
    "quorum_rate": 0.75, "pass_rate": 0.5, "small_votes_share": 0.2, "cost_to_capture_usd": 60_000.0,
    "latency_p50_s": 0.4, "latency_p95_s": 1.25, "ttft_p95_s": 0.6, "cache_hit_rate": 0.7, "utilisation": 0.6,
    "refused_share": 0.0, "serving_cost_usd_per_1m": 0.3, "fee_usd_per_1m": 0.15, "operator_margin": -0.2,
    "replicas": 8.0, "tokens_demanded": 5e7, "tokens_served": 5e7, "contributor_above_break_even": 0.1,
    "payout_gini": 0.6, "holder_gini": 0.9, "payout_top1_share": 0.2, "unlock_share_of_float": 0.04,
    "contributor_income_zero_share": 0.3, "contributor_income_median_usd": 4.0, "contributor_income_p90_usd": 20.0,
}  # fmt: skip


def batch(runs: list[int], scale: float = 1.0) -> BatchResult:
    """Run k stands k per cent above run 0; floats drift by 0.1 % a day, monthly columns are null but at month ends."""
    numbers = np.array(runs, np.int64)
    tilt = (1 + 0.01 * numbers)[:, None] * (1 + 0.001 * np.arange(DAYS + 1))[None, :]
    metrics: dict[str, np.ndarray] = {}
    for observable in OBSERVABLES:
        name = observable.name
        if name.endswith("_gwei"):
            metrics[name] = (GWEI_LEVELS.get(name, 5.0) * MILLION * tilt).astype(np.int64)
            continue
        values = LEVELS.get(name, 1.0) * tilt * (scale if name == "price_usd" else 1.0)
        if name in ("quorum_bps", "fees_platform_bps") or name.startswith("split_"):
            values = np.full_like(tilt, LEVELS[name])
        if observable.monthly:
            values[:, [day for day in range(DAYS + 1) if day not in MONTH_ENDS]] = np.nan
        metrics[name] = values
    metrics[NULL][:] = np.nan
    metrics["conservation_residual_gwei"][:] = 0
    witness = 0 in runs and scale == 1.0
    flows, accounts = money() if witness else ({}, {})
    return BatchResult(
        runs=numbers, metrics=metrics, groups=groups(runs), events=events(runs), residual_gwei=0,
        accounts=accounts, flows=flows, chain=chain() if witness else {}, usd=usd(runs),
        chain_summary=chain_summary() if witness else None,
    )  # fmt: skip


def columns(names: tuple[str, ...], rows: list[tuple[object, ...]]) -> dict[str, list[object]]:
    return {name: [row[index] for row in rows] for index, name in enumerate(names)}


def groups(runs: list[int]) -> dict[str, list[object]]:
    """Each class is paid 10,000 tokens a month; decile k of holders holds 2^k thousand tokens each."""
    rows = []
    for day in MONTH_ENDS:
        for run in runs:
            rows += [(run, day, name, 0, 100, MILLION, 10_000 * GWEI) for name in CLASSES]
            rows += [(run, day, "holders", k, 10, 10 * 2**k * 1000 * GWEI, 100 * GWEI) for k in range(1, 11)]
    return columns(("run", "day", "class", "decile", "agents", "holding_gwei", "income_gwei"), rows)


def events(runs: list[int]) -> dict[str, list[object]]:
    """One proposal per run that is executed in even runs and defeated in odd ones."""
    noon = 1_757_332_800
    rows: list[tuple[object, ...]] = []
    for run in runs:
        title, passed = "Raise the quorum", run % 2 == 0

        def told(day: int, kind: str, run: int = run, title: str = title, **detail: object) -> None:
            rows.append(
                (
                    run,
                    day,
                    kind,
                    title,
                    json.dumps({"proposal": 0, "timestamp": noon + 86_400 * day, **detail}),
                )
            )

        told(20, "submitted", proposer="delegates/3", deadline=noon + 86_400 * 28)
        against = MILLION if passed else 9 * MILLION
        told(22, "voted", voters=40, for_gwei=4 * MILLION, against_gwei=against, abstain_gwei=MILLION // 2)
        if passed:
            told(29, "queued", eta=noon + 86_400 * 36)
            told(36, "executed", changes=1)
            told(37, "bound", parameter="governance.quorum", values=[600])
        else:
            told(29, "defeated", quorum_reached=1)
    return columns(("run", "day", "kind", "subject", "detail"), rows)


MOVES = (
    ("U1", "vesting.community", "pool.community.l1", 20_000_000),
    ("U1", "vesting.ecosystem", "pool.ecosystem.l1", 4_000_000),
    ("U4", "pool.community.l1", "pool.community.l2", 5_000_000),
    ("E3", "pool.community.l2", "staking_rewards", 1_500_000),
    ("E1", "pool.community.l1", "wallet.l1/holders", 9_000_000), ("M1", "wallet.l1/holders", "venue", 3_000_000),
    ("M1", "venue", "wallet.l1/users", 2_500_000), ("X1", "wallet.l1/users", "wallet.l2/users", 2_000_000),
    ("D1", "wallet.l2/users", "prepaid/users", 1_500_000), ("B1", "prepaid/users", "clearing", 1_000_000),
    ("B2", "clearing", "treasury.l2", 100_000), ("B3", "clearing", "distributor", 200_000),
    ("B4", "clearing", "staking_rewards", 200_000), ("B5", "clearing", "distributor", 500_000),
    ("C1", "distributor", "wallet.l2/contributors", 400_000), ("S2", "staking_rewards", "stake/holders", 700_000),
)  # fmt: skip
"""Moves of each month in tokens; each account can pay them."""


def money() -> tuple[dict[str, list[object]], dict[str, list[object]]]:
    """Return flows and the accounts that follow from them, after a mint of 10^9 tokens."""
    held: dict[str, int] = {}
    flows: list[tuple[object, ...]] = []
    accounts: list[tuple[object, ...]] = []

    def move(day: int, flow: str, source: str, target: str, tokens: int) -> None:
        if source != "mint":
            held[source] = held.get(source, 0) - tokens * GWEI
        held[target] = held.get(target, 0) + tokens * GWEI
        flows.append((0, day, flow, source, target, tokens * GWEI))

    for day in MONTH_ENDS:
        if day == MONTH_ENDS[0]:
            for bucket in BUCKETS:
                move(day, "G1", "mint", f"vesting.{bucket}", 200_000_000)
        for flow, source, target, tokens in MOVES:
            move(day, flow, source, target, tokens)
        accounts += [(0, day, name, "l2" if ".l2" in name else "l1", amount) for name, amount in held.items()]
    return (
        columns(("run", "day", "flow", "source", "target", "amount_gwei"), flows),
        columns(("run", "day", "account", "chain", "amount_gwei"), accounts),
    )


def chain() -> dict[str, list[object]]:
    known: dict[str, object] = {
        "epoch": 1, "date": START + timedelta(days=30), "account": "treasury.l2", "chain": "l2",
        "ledger_gwei": 10**14, "chain_wei": 10**23,
    }  # fmt: skip
    return {name: [known.get(name, 0)] for name in TABLES["chain"]}


def chain_summary() -> dict[str, object]:
    return {
        "executed": True,
        "witness_run": 0,
        "transactions": 9,
        "reconciled_epochs": 3,
        "max_abs_diff_wei": 0,
    }


def usd(runs: list[int]) -> dict[str, list[object]]:
    rows = [(run, month, "users", "purchase", 10**9) for run in runs for month in range(3)]
    return columns(("run", "month", "class", "purpose", "micro_usd"), rows)


def unlocks() -> pl.DataFrame:
    """Each bucket has 200 million; team and investors are locked for 70 days, the rest rises by a million a day."""
    span = range(DAYS + 63)
    frames = []
    for bucket in BUCKETS:
        late = bucket in ("investors", "team")
        vested = [0 if late and day < 70 else (10 + day) * MILLION // 2 for day in span]
        frames.append(
            pl.DataFrame(
                {
                    "day": list(span), "date": [START + timedelta(days=day) for day in span],
                    "bucket": [bucket] * len(span), "role": [bucket] * len(span), "vested_gwei": vested,
                }
            )
        )  # fmt: skip
    return pl.concat(frames)


def manifest(**changes: object) -> Manifest:
    profile = json.loads(PROFILE.read_text(encoding="utf-8"))
    plain = Manifest(
        status="running", name="small", scenario="small.yaml", command="olsim run small.yaml",
        start=START.isoformat(), scenario_sha256="a" * 64, world_sha256="b" * 64, code_version=code_version(),
        packages={"numpy": "2"}, seed=7, runs=RUNS, agents=900, days=DAYS, artifacts_sha256=artifacts_sha256(),
        profile=ProfileFacts(
            id=profile["id"], sha256=file_sha256(PROFILE), measured=True, created=profile["created"],
            device=profile["device"]["name"], model=profile["model"]["arch"], model_params=profile["model"]["params"],
        ),
        priced_for=PricedFor(model="8B dense", params=8_000_000_000),
        chain=ChainFacts(executed=True, witness_run=0, transactions=9, reconciled_epochs=3),
        twins=TwinFacts(names=("no_unlock",), runs=2),
        parameters=ParameterCounts(total=4, documented=1, estimated=1, illustrative=2),
        timing=Timing(wall_s=1.5, agent_steps_per_s=2.0),
    )  # fmt: skip
    return plain.model_copy(update=changes)


def side_files(directory: Path) -> None:
    rows = [
        {
            "path": "token.cap",
            "value": "1000000000 OPEN",
            "evidence": "documented",
            "place": "small.yaml:3:8",
        },
        {"path": "fees.burn", "value": "0 %", "evidence": "illustrative", "place": "small.yaml:9:3"},
        {"path": "demand.tokens", "value": "5", "evidence": "estimated"},
        {"path": "market.outside_net_inflow", "value": "triangular(0, 1, 2)", "evidence": "illustrative"},
    ]
    (directory / PARAMETERS).write_text(json.dumps(rows), encoding="utf-8")
    with (directory / RESOLVED).open("w", encoding="utf-8") as file:
        YAML().dump({"name": "small", "serving": {"fleet": [{"profile": str(PROFILE), "count": 8}]}}, file)


def write(directory: Path) -> Path:
    """Write a complete run directory with its report: run 0 as witness, five others, a twin of two runs."""
    directory.mkdir(parents=True)
    side_files(directory)
    origin = Origin.of(manifest())
    land(directory, encode(BASE, batch([0]), START, 1.0, origin))
    land(directory, encode(BASE, batch(list(range(1, RUNS))), START, 1.0, origin))
    land(directory, encode("no_unlock", batch([0, 1], scale=1.2), START, 1.0, origin))
    assemble(directory, manifest(), unlocks())
    write_report(load_run(directory))
    return directory
