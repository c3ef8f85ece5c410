"""Influence profile: what a billing log says of whose data answers rest on, as a file that the simulation draws from.

Rules decided here. A query class is what one adapter was asked. Contributors of an adapter are ranked by their mean
share of the measured influence; ranks beyond the asked number are counted with the last one. How closely periods keep
to the means is a Dirichlet concentration by moments: Var(s_r) = m_r (1 - m_r) / (c + 1) over periods of equally many
answers, summed over ranks. Answers on which nothing had influence are a share of their own. The file says how many
answers it rests on, and names no contributor.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, Problem
from reference_node.billing.reading import LogReader, statement_path
from reference_node.billing.rules import NO_METHOD
from reference_node.billing.terms import Terms, contributors_by_data

SCHEMA = "influence.v1"
PERIODS_MIN = 8
"""Periods that a concentration is estimated from, at least."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measured:
    """Influence of one adapter's answers.

    Parameters
    ----------
    shares
        Share of each contributor in each answer on which data had influence, (answers, contributors); rows sum to 1.
    nothing
        Answers on which no data had influence.
    methods
        Methods that measured them.
    policies
        Names of the splits that made weights of scores.
    """

    shares: Floats
    nothing: int
    methods: frozenset[str]
    policies: frozenset[str]


def read_influence(log: Path) -> dict[str, Measured]:
    """Return adapter (content hash and alias alike) -> its measured answers; ensembles are left out.

    Raises
    ------
    InputError
        If the log is damaged.
    """
    reader = LogReader(log)
    named = lru_cache(4096)(lambda root: _statement(log, root))
    rows: dict[str, list[dict[str, int]]] = {}
    aliases: dict[str, str] = {}
    rules: dict[str, set[tuple[str, str]]] = {}
    for found in reader.bills():
        record = found.entry.record
        if found.rules is None or found.rules.method == NO_METHOD or len(record.adapters) != 1:
            continue
        alias, contributor_of = named(record.datanet_root)
        adapter = record.adapters[0].sha256.hex()
        weights: dict[str, int] = {}
        for data_id, weight in record.top_k:
            name = contributor_of[data_id]
            weights[name] = weights.get(name, 0) + weight
        rows.setdefault(adapter, []).append(weights)
        aliases[adapter] = alias
        split = json.loads(found.rules.params).get("policy", {}).get("split", "")
        rules.setdefault(adapter, set()).add((found.rules.method, split))
    made = {adapter: _measured(answers, rules[adapter]) for adapter, answers in rows.items()}
    return made | {aliases[adapter]: one for adapter, one in made.items() if aliases[adapter]}


def _statement(log: Path, root: bytes) -> tuple[str, dict[bytes, str]]:
    document = json.loads(statement_path(log, root).read_text(encoding="utf-8"))
    terms = tuple(Terms.from_document(one) for one in document["adapters"])
    return terms[0].alias, contributors_by_data(terms)


def _measured(answers: list[dict[str, int]], rules: set[tuple[str, str]]) -> Measured:
    names = sorted({name for one in answers for name in one})
    shares = np.array([[one.get(name, 0) for name in names] for one in answers if one], np.float64)
    shares = shares.reshape(-1, len(names))
    methods, policies = (frozenset(one) for one in zip(*rules, strict=True))
    return Measured(
        shares / np.where(shares.sum(axis=1, keepdims=True) > 0, shares.sum(axis=1, keepdims=True), 1.0),
        sum(not one for one in answers),
        methods,
        policies,
    )


def class_entry(measured: Measured, ranks: int, period: int) -> dict[str, Any]:
    """Return a query class as the file writes it.

    Parameters
    ----------
    measured
        The answers.
    ranks
        Numbers in `mean_shares`.
    period
        Answers of a period.

    Raises
    ------
    InputError
        If there are too few answers for `PERIODS_MIN` periods.
    """
    shares = measured.shares
    periods = len(shares) // period if period > 0 else 0
    if periods < PERIODS_MIN:
        message = f"{len(shares)} attributed answers in periods of {period}; needed are {PERIODS_MIN} periods"
        raise InputError(message)
    ordered = shares[:, np.argsort(-shares.mean(axis=0), kind="stable")]
    folded = np.zeros((len(shares), ranks))
    kept = min(ranks, ordered.shape[1])
    folded[:, :kept] = ordered[:, :kept]
    folded[:, ranks - 1] += ordered[:, ranks:].sum(axis=1)
    mean = folded.mean(axis=0) / folded.mean(axis=0).sum()
    by_period = folded[: periods * period].reshape(periods, period, ranks).mean(axis=1)
    answers = len(shares) + measured.nothing
    return {
        "mean_shares": [float(share) for share in mean],
        "standard_errors": [float(x) for x in folded.std(axis=0, ddof=1) / np.sqrt(len(folded))],
        "concentration": concentration(mean, by_period),
        "no_influence": measured.nothing / answers,
        "answers": answers,
    }


def concentration(mean: Floats, by_period: Floats) -> float:
    """Return the Dirichlet concentration by moments.

    Parameters
    ----------
    mean
        Mean shares, (ranks,).
    by_period
        Mean shares of each period, (periods, ranks).

    Examples
    --------
    >>> drawn = np.random.default_rng(1).dirichlet(20 * np.array([0.5, 0.3, 0.2]), 20_000)
    >>> round(concentration(drawn.mean(axis=0), drawn))
    20
    """
    spread = float(by_period.var(axis=0, ddof=1).sum())
    return float((mean * (1 - mean)).sum()) / max(spread, 1e-9) - 1


def influence_document(
    log: Path, classes: Mapping[str, str], *, name: str, ranks: int, period: int, source: str
) -> dict[str, Any]:
    """Return the profile of a log.

    Parameters
    ----------
    log
        Folder of the billing log.
    classes
        Query class -> adapter, by alias or content hash.
    name
        Id of the profile.
    ranks, period
        As in `class_entry`.
    source
        What was asked of which node, in one sentence.

    Raises
    ------
    InputError
        If the log holds no measured answers of a class, or too few, or those of unlike policies.
    """
    found = read_influence(log)
    missing = [
        Problem(f"the log holds no attributed answers of adapter {adapter!r}", query_class, str(log))
        for query_class, adapter in classes.items()
        if adapter not in found
    ]
    if missing:
        raise InputError(missing)
    policies = frozenset[str]().union(*(found[adapter].policies for adapter in classes.values()))
    if len(policies) != 1:
        raise InputError(f"answers were divided by {', '.join(sorted(policies))}; a profile is of one policy")
    if not 1 <= ranks <= 64:
        raise InputError(f"--ranks {ranks}: allowed 1 to 64")
    methods = sorted(frozenset[str]().union(*(found[adapter].methods for adapter in classes.values())))
    return {
        "schema": SCHEMA,
        "id": name,
        "provenance": {
            "measured": True,
            "class": "measured",
            "date": datetime.now(UTC).date().isoformat(),
            "source": source,
            "methods": methods,
            "answers_per_period": period,
            "unit": "contributor",
        },
        "policy": next(iter(policies)),
        "ranks": ranks,
        "query_classes": {
            query_class: class_entry(found[adapter], ranks, period)
            for query_class, adapter in classes.items()
        },
    }
