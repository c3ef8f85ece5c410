"""The witness's joints: entries as lines between accounts, rules that no contract can follow, disputes on chain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("eth")

from models.errors import InputError
from sim.engine import build_economy, run_batch
from sim.journal import Entry
from sim.scenario import load
from sim.witness import Witness, matched
from sim.witness_deployment import deployment_spec

BASELINE = Path(__file__).parents[2] / "scenarios" / "baseline.yaml"


def economy(*settings, agents=300, days=40):
    return build_economy(load(BASELINE, [f"days={days}", *settings]), agents=agents)


@pytest.mark.parametrize(
    ("payers", "payees", "lines"),
    [
        ({"vesting.team": 7}, {"pool": 7}, [("vesting.team", "pool", 7)]),
        ({"pot": 7}, {"w/a/*": 4, "w/a/1": 3}, [("pot", "w/a/*", 4), ("pot", "w/a/1", 3)]),
        (
            {"w/a/*": 4, "w/a/1": 3},
            {"g/a/*": 4, "g/a/1": 3},
            [("w/a/*", "g/a/*", 4), ("w/a/1", "g/a/1", 3)],
        ),
        ({"bond/a/1": 5}, {"w/a/2": 5}, [("bond/a/1", "w/a/2", 5)]),
        (
            {"bond/a/*": 5, "bond/a/1": 6},
            {"w/a/1": 2, "w/a/3": 9},
            [("bond/a/1", "w/a/1", 2), ("bond/a/*", "w/a/3", 5), ("bond/a/1", "w/a/3", 4)],
        ),
        ({"stake/a/*": 3}, {"w/b/*": 2, "w/b/0": 1}, [("stake/a/*", "w/b/*", 2), ("stake/a/*", "w/b/0", 1)]),
    ],
)
def test_payers_are_matched_with_payees(payers, payees, lines):
    assert list(matched(payers, payees)) == lines


def test_any_two_arrangements_of_a_sum_are_matched_to_the_gwei():
    generator = np.random.default_rng(5)
    for _ in range(200):
        total = int(generator.integers(1, 50))
        sides = []
        for account in ("bond", "wallet.l2"):
            cuts = sorted(generator.integers(0, total + 1, 5).tolist())
            parts = np.diff([0, *cuts, total]).tolist()
            sides.append({f"{account}/a/{i}": part for i, part in enumerate(parts) if part})
        lines = list(matched(*sides))
        for k, side in enumerate(sides):
            summed = dict.fromkeys(side, 0)
            for line in lines:
                summed[line[k]] += line[2]
            assert summed == side
        assert all(amount > 0 for _, _, amount in lines)


def test_an_entry_whose_payees_differ_becomes_lines_of_individuals_and_the_rest():
    witness = Witness(economy(days=1))
    witness._own = {"contributors": np.array([1, 3])}
    paid, received = np.array([4, 6, 0, 0, 0]), np.array([0, 0, 1, 9, 0])
    entry = Entry(8, "A3", "bond/contributors", "wallet.l2/contributors", 10, paid, received)
    lines = [(line.source, line.target, line.amount_gwei) for line in witness._lines(entry)]
    assert lines == [
        ("bond/contributors/*", "wallet.l2/contributors/*", 1),
        ("bond/contributors/*", "wallet.l2/contributors/3", 3),
        ("bond/contributors/1", "wallet.l2/contributors/3", 6),
    ]
    assert {(line.day, line.flow) for line in witness._lines(entry)} == {(8, "A3")}


def test_rules_of_the_governor_that_change_by_date_need_a_vote():
    settings = (
        "governance.quorum={at: {2025-09-08: 5 %, 2025-09-20: 6 %}, of: gopen_supply, counts: [for, abstain]}",
        "governance.timelock={at: {2025-09-08: 7 d, 2025-09-25: 8 d, 2026-09-08: 9 d}}",
    )
    with pytest.raises(InputError) as refused:
        deployment_spec(economy(*settings))
    told = "but on chain only a vote changes the governor; use a proposal, or run with --chain off"
    problems = {problem.path: problem for problem in refused.value.problems}
    assert {path: problem.message for path, problem in problems.items()} == {
        "governance.quorum": f"changes on 2025-09-20, {told}",
        "governance.timelock": f"changes on 2025-09-25, {told}",
    }
    assert all(problem.where for problem in problems.values())


def test_a_date_after_the_run_or_before_it_is_no_change():
    spec = deployment_spec(
        economy("governance.timelock={at: {2025-01-01: 3 d, 2025-09-08: 7 d, 2026-09-08: 9 d}}")
    )
    assert spec.governance.timelock_s == 7 * 86_400


class Listening(Witness):
    """A witness that notes which flows between agents pay the payers' own accounts and which do not."""

    seen: frozenset[tuple[str, bool]] = frozenset()

    def _lines(self, entry):
        if entry.source_parts is not None and entry.target_parts is not None:
            own = np.array_equal(entry.source_parts, entry.target_parts)
            self.seen = self.seen | {(entry.flow, own)}
        return super()._lines(entry)


@pytest.mark.slow
def test_bonds_and_slashes_that_go_to_the_other_party_reconcile():
    built = economy(
        "attribution.slash.to=challenger",
        "attribution.detection=50 %",
        "attribution.dispute.rate=90 %/month",
        "agents.contributors.attackers.copy=40 %",
        "agents.contributors.plan.every=7 d",
        "agents.contributors.plan.participate=100 %",
        agents=400,
        days=245,
    )
    chain = Listening(built)
    result = run_batch(built, np.array([0, 1]), witness=0, chain=chain)
    assert {flow for flow, own in chain.seen if not own} == {"A2", "A3"}, "slashes and bonds went to others"
    assert ("A3", True) in chain.seen, "and bonds of those who were right went back"
    assert result.residual_gwei == 0
    assert (result.chain_summary["reconciled_epochs"], result.chain_summary["max_abs_diff_wei"]) == (8, 0)
    flows = zip(*(result.flows[name] for name in ("flow", "source", "target", "amount_gwei")), strict=True)
    paid = {}
    for flow, source, target, gwei in flows:
        paid[flow, source, target] = paid.get((flow, source, target), 0) + gwei
    stake, bond, wallet = (f"{name}/contributors" for name in ("stake", "bond", "wallet.l2"))
    assert paid["A2", stake, wallet] > 0
    assert paid["A3", bond, wallet] == paid["A3", wallet, bond] > 0, "every bond went back or to the accused"
    assert ("A2", stake, "burned.l2") not in paid
