"""Governed parameters and the proposals that change them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from models.units import Duration
from sim.scenario import GOVERNED, Scenario, Split, load

SCENARIOS = Path(__file__).parents[2] / "scenarios"
PROPOSALS = sorted((SCENARIOS / "proposals").glob("*.yaml"))


@pytest.fixture(scope="module")
def baseline() -> Scenario:
    return load(SCENARIOS / "baseline.yaml")


@pytest.mark.parametrize("path", GOVERNED)
def test_every_governed_value_of_the_baseline_survives_its_columns(path: str, baseline: Scenario) -> None:
    governed = GOVERNED[path]
    value = baseline.parameter(path).value
    numbers = governed.encode(value)
    assert len(numbers) == len(governed.columns)
    assert all(
        isinstance(number, int) and governed.minimum <= number <= governed.maximum for number in numbers
    )
    assert governed.decode(numbers) == value


ENCODED = [
    ("fees.input", 0.1, (100_000,)),
    ("fees.input", 250_000_000, (250_000_000,)),
    ("fees.access.price", 4.99, (4_990_000,)),
    ("fees.platform", Fraction(1, 10), (1000, 0)),
    ("fees.platform", 1_000_000, (0, 1_000_000)),
    ("fees.split", Split(2, 1, 6), (2, 1, 6)),
    ("governance.quorum", Fraction(6, 100), (600,)),
    ("governance.period", Duration(seconds=604_800), (604_800,)),
    ("attribution.min_claim.times_gas", 2.5, (2500,)),
    ("emission.monthly.stakers", 750_000 * 10**9, (750_000 * 10**9,)),
]


@pytest.mark.parametrize(("path", "value", "numbers"), ENCODED)
def test_encoding(path: str, value: Any, numbers: tuple[int, ...]) -> None:
    assert GOVERNED[path].encode(value) == numbers
    assert GOVERNED[path].encode(GOVERNED[path].decode(numbers)) == numbers or isinstance(value, int)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("governance.quorum", Fraction(5001, 100_000), "500.1 is not a whole number of basis points"),
        ("fees.input", 0.1000001, "100000.1 is not a whole number of micro-USD"),
        ("attribution.min_claim.times_gas", 1.0005, "1000.5 is not a whole number of thousandths"),
        ("governance.period", Duration(seconds=60), "60 seconds is out of bounds; allowed 3600 to 31536000"),
    ],
)
def test_a_value_that_a_vote_cannot_set_is_refused(path: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GOVERNED[path].encode(value)


def test_columns_are_unique_and_named_after_their_paths() -> None:
    columns = [column for governed in GOVERNED.values() for column in governed.columns]
    assert len(columns) == len(set(columns))
    assert all(column.startswith(path) for path, governed in GOVERNED.items() for column in governed.columns)


def test_data_first() -> None:
    proposal = load(SCENARIOS / "proposals" / "data_first.yaml").proposal
    assert proposal is not None
    (action,) = proposal.actions
    assert (action.path, action.value, action.old) == ("fees.split", Split(2, 1, 6), Split(2, 2, 5))
    assert action.encoded == (2, 1, 6)
    assert (proposal.proposer.class_, proposal.proposer.rank) == ("delegates", 3)
    assert proposal.votes.direction.horizon.days == 90
    assert proposal.votes.stated == {"team": "abstain"}
    assert proposal.votes.force == "none"


def test_no_change_sets_what_already_is() -> None:
    proposal = load(SCENARIOS / "proposals" / "no_change.yaml").proposal
    assert proposal is not None
    assert all(action.value == action.old for action in proposal.actions)


@pytest.mark.parametrize("path", PROPOSALS, ids=lambda path: path.stem)
def test_a_proposal_leaves_its_world_alone(path: Path, baseline: Scenario) -> None:
    scenario = load(path)
    assert scenario.proposal is not None
    ours, theirs = scenario.resolved(), baseline.resolved()
    for key in ("name", "proposal", "report"):
        ours.pop(key, None)
        theirs.pop(key, None)
    assert ours == theirs


def test_overrides_may_change_the_world_of_a_proposal() -> None:
    scenario = load(SCENARIOS / "proposals" / "quorum_6.yaml", ["governance.turnout.core=5 %"])
    assert scenario.governance.turnout.core.value == Fraction(1, 20)
    assert scenario.proposal is not None
    forced = load(SCENARIOS / "proposals" / "quorum_6.yaml", ["proposal.votes.force=pass"]).proposal
    assert forced is not None
    assert forced.votes.force == "pass"
