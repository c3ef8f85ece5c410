"""Reading scenarios: forms of a value, parents, overrides, classes, places, canonical form."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from pathlib import Path

import pytest

from models.errors import InputError
from models.parameters import Parameter
from models.priors import Prior
from models.units import Duration
from models.vesting import unlocked_at_months
from sim.scenario import Scenario, Split, load, load_any, load_token
from sim.schedules import schedules_of

ROOT = Path(__file__).parents[2]
SCENARIOS = ROOT / "scenarios"
BASELINE = SCENARIOS / "baseline.yaml"
WORLDS = sorted(
    path for folder in ("presets", "proposals", "stress") for path in (SCENARIOS / folder).glob("*.yaml")
)
TOKENS = sorted((SCENARIOS / "tokens").glob("*.yaml"))


@pytest.fixture(scope="module")
def baseline() -> Scenario:
    return load(BASELINE)


def _write(folder: Path, text: str, name: str = "child.yaml") -> Path:
    path = folder / name
    path.write_text(f"extends: {BASELINE}\n{text}", encoding="utf-8")
    return path


def test_amounts_shares_durations_and_usd_are_exact(baseline: Scenario) -> None:
    assert baseline.token.cap.value == 10**18
    assert baseline.token.buckets["community"].allocation == 517_100_000 * 10**9
    assert baseline.token.buckets["community"].tge_amount == 145_500_000 * 10**9
    assert baseline.token.buckets["team"].cliff.value == Duration(months=12)
    assert baseline.governance.quorum.value == Fraction(1, 20)
    assert baseline.governance.threshold.value == 10_000 * 10**9
    assert baseline.governance.timelock.value == Duration(seconds=7 * 86_400)
    assert baseline.market.open_price.value == 0.60
    assert baseline.fees.split.value == Split(2, 2, 5)
    assert baseline.fees.split.value.total == 9
    assert baseline.fees.platform.value == Fraction(1, 10)
    assert baseline.demand.tokens.input.value == 40_000
    assert baseline.demand.adoption.bass.potential.value == 100_000


def test_structure_is_plain(baseline: Scenario) -> None:
    assert (baseline.name, baseline.start, baseline.days) == ("baseline", date(2025, 9, 8), 1461)
    assert baseline.agents.holders.count == 6000
    assert baseline.runs.bands == (5, 25, 50, 75, 95)
    assert baseline.agents.operators.sell_to_cover is True
    assert baseline.operator_pay.from_ == ("platform", "emission.operators")
    assert baseline.proposal is None
    assert baseline.attribution.influence == SCENARIOS / "tables" / "influence_profile.json"
    assert baseline.serving.fleet[0].profile.is_file()


def test_a_dated_value_is_off_before_its_first_date(baseline: Scenario) -> None:
    assert baseline.fees.input.on(date(2025, 11, 14)) is None
    assert baseline.fees.input.on(date(2025, 11, 15)) == 0.10
    assert baseline.fees.input.range == (0.01, 5.0)
    dropped = dict(baseline.emission.airdrops.values)
    assert dropped == {date(2025, 9, 8): 10_000_000 * 10**9, date(2026, 3, 8): 15_000_000 * 10**9}


def test_prior_keeps_its_numbers_and_unit(baseline: Scenario) -> None:
    inflow = baseline.market.outside_net_inflow
    assert inflow.prior == Prior("triangular", (0.0, 1_200_000.0, 4_000_000.0))
    assert (inflow.value, inflow.unit) == (1_200_000.0, "USD/month")


def test_priors_of_shares_and_lognormals_are_on_the_value_s_scale(tmp_path: Path) -> None:
    text = (
        "market:\n  volatility: {prior: {uniform: [60, 140]}, unit: '%/year', range: [50, 150]}\n"
        "  open_price: {prior: {lognormal: [0.5 USD, 0.2]}}\n"
    )
    market = load(_write(tmp_path, text)).market
    assert market.volatility.prior == Prior("uniform", (0.6, 1.4))
    assert market.volatility.value == 1
    assert market.open_price.prior == Prior("lognormal", (0.5, 0.2), low=0.0)
    with pytest.raises(InputError, match=r"140 %/year is outside its range 50 %/year to 100 %/year"):
        load(_write(tmp_path, text.replace("150", "100")))


def test_class_and_source_come_from_the_nearest_above(baseline: Scenario) -> None:
    governance = baseline.governance
    assert (governance.delay.evidence, governance.delay.source) == ("documented", "gov")
    assert governance.proposals_per_month.evidence == "estimated"
    assert baseline.token.buckets["community"].tge.source == "tge"
    assert baseline.fees.burn.evidence == "illustrative"
    assert baseline.sources["tge"].confidence == "low"


def test_an_override_does_not_inherit_the_class_of_what_it_replaces(tmp_path: Path) -> None:
    child = load(_write(tmp_path, "governance:\n  quorum: 6 %\n"))
    assert (child.governance.quorum.value, child.governance.quorum.evidence) == (
        Fraction(6, 100),
        "illustrative",
    )
    assert child.governance.quorum.counts == ("for", "abstain")
    assert child.governance.delay.evidence == "documented"


def test_every_parameter_knows_its_place(baseline: Scenario) -> None:
    lines = BASELINE.read_text(encoding="utf-8").splitlines()
    parameters = list(baseline.parameters())
    assert len(parameters) > 120
    for path, parameter in parameters:
        assert Path(parameter.place.file) == BASELINE, path
        rest = lines[parameter.place.line - 1][parameter.place.column - 1 :]
        assert rest[0] not in " ,}", f"{path} at {parameter.place}: {rest}"
    assert baseline.parameter("governance.turnout.core").place.line == _line(lines, "core: 1 %")


def _line(lines: list[str], text: str) -> int:
    return next(number for number, line in enumerate(lines, start=1) if text in line)


def test_maps_merge_lists_are_replaced_null_deletes(tmp_path: Path) -> None:
    text = (
        "emission: {airdrops: null}\n"
        "runs: {bands: [10, 90]}\n"
        "fees: {platform: 20 %, input: {at: {2027-01-01: 0.2 USD/1M tokens}}}\n"
        "agents: {holders: {plan: {stake: 10 %}}}\n"
    )
    child = load(_write(tmp_path, text))
    assert child.emission.airdrops is None
    assert child.runs.bands == (10, 90)
    assert child.runs.count == 64
    assert child.fees.platform.range == (Fraction(0), Fraction(1, 2)), (
        "a value written over a value keeps its range"
    )
    assert child.fees.input.values == ((date(2025, 11, 15), 0.1), (date(2027, 1, 1), 0.2))
    assert child.agents.holders.plan.stake.value == Fraction(1, 10)
    assert child.agents.holders.plan.wrap.value == Fraction(15, 100)


def test_a_form_replaces_another_form(tmp_path: Path) -> None:
    fixed = load(_write(tmp_path, "market: {outside_net_inflow: -5_000 USD/month}\n"))
    assert fixed.market.outside_net_inflow.prior is None
    assert fixed.market.outside_net_inflow.value == -5000.0
    split = "fees: {split: {at: {2027-01-01: {model: 1, stakers: 1, contributors: 1}}}}\n"
    dated = load(_write(tmp_path, split)).fees.split
    assert dated.on(date(2026, 12, 31)) is None
    assert dated.on(date(2027, 1, 1)) == Split(1, 1, 1)


def test_grandparents_are_read(tmp_path: Path) -> None:
    _write(tmp_path, "runs: {count: 8}\nmarket: {volatility: 50 %/year}\n", "parent.yaml")
    child = tmp_path / "grandchild.yaml"
    child.write_text("extends: parent.yaml\nruns: {count: 4}\n", encoding="utf-8")
    scenario = load(child)
    assert (scenario.runs.count, scenario.market.volatility.value) == (4, Fraction(1, 2))
    assert [path.name for path in scenario.files] == ["grandchild.yaml", "parent.yaml", "baseline.yaml"]


def test_overrides_follow_the_rules_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.json").write_text(
        (SCENARIOS / "tables" / "influence_profile.json").read_text(encoding="utf-8"), encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    overrides = (
        "runs.count=8",
        "governance.quorum=6 %",
        "fees.split={model: 1, stakers: 1, contributors: 8}",
        "serving.fleet.0.count=3",
        "attribution.influence=mine.json",
        "emission.airdrops=null",
    )
    scenario = load(BASELINE, overrides)
    assert scenario.runs.count == 8
    assert scenario.governance.quorum.value == Fraction(6, 100)
    assert str(scenario.governance.quorum.place) == "--set"
    assert scenario.fees.split.value == Split(1, 1, 8)
    assert scenario.serving.fleet[0].count == 3
    assert scenario.attribution.influence == tmp_path / "mine.json", "relative to the working directory"
    assert scenario.emission.airdrops is None
    assert scenario.overrides == overrides


def test_platform_part_may_be_flat() -> None:
    fees = load(BASELINE, ["fees.platform={value: 0.001 OPEN, range: [0, 0.01]}"]).fees
    assert fees.platform.value == 1_000_000
    assert isinstance(fees.platform.value, int)
    assert fees.platform.range == (0, 10_000_000)


def test_rates_may_be_quoted_in_the_token() -> None:
    overrides = [
        "fees.quoted_in=OPEN",
        "fees.input={value: 0.2 OPEN/1M tokens, range: null}",
        "fees.output={value: 0.8 OPEN/1M tokens, range: null}",
        "operator_pay.rate=0.3 OPEN/1M tokens",
    ]
    fees = load(BASELINE, overrides).fees
    assert fees.output.on(date(2025, 9, 8)) == 800_000_000


@pytest.mark.parametrize("path", [BASELINE, *WORLDS], ids=lambda path: path.stem)
def test_resolved_scenario_loads_back_to_the_same(path: Path, tmp_path: Path) -> None:
    from ruamel.yaml import YAML

    scenario = load(path)
    copy = tmp_path / "scenario.resolved.yaml"
    yaml = YAML(typ="safe", pure=True)
    yaml.sort_base_mapping_type_on_output = False
    yaml.dump(scenario.resolved(relative_to=tmp_path), copy)
    again = load(copy)
    assert again.resolved() == scenario.resolved()
    assert again.sha256(exclude_runs=False) == scenario.sha256(exclude_runs=False)
    assert [path for path, _ in again.parameters()] == [path for path, _ in scenario.parameters()]


def test_hash_knows_the_world_and_not_the_number_of_runs(baseline: Scenario, tmp_path: Path) -> None:
    more = load(BASELINE, ["runs.count=128"])
    assert more.sha256(exclude_runs=True) == baseline.sha256(exclude_runs=True)
    assert more.sha256(exclude_runs=False) != baseline.sha256(exclude_runs=False)
    assert load(BASELINE, ["fees.burn=1 %"]).sha256() != baseline.sha256()
    same = load(BASELINE, ["governance.timelock={value: 168 h, class: documented, source: gov}"])
    assert same.sha256() == baseline.sha256(), "another way to write the same value"
    profile = tmp_path / "profile.json"
    profile.write_bytes(baseline.serving.fleet[0].profile.read_bytes())
    moved = [f"serving.fleet.0.profile={profile}"]
    assert load(BASELINE, moved).sha256() == baseline.sha256(), "files count by content"
    profile.write_text(profile.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert load(BASELINE, moved).sha256() != baseline.sha256()


def test_a_scenario_is_frozen(baseline: Scenario) -> None:
    with pytest.raises(ValueError, match="frozen"):
        baseline.fees.burn = Parameter.constant(Fraction(1))


# Unlocked supply in M OPEN at months 6, 8, 12, 13, 24, as the rival readings of the calendar give it.
READINGS = {
    "baseline": (272.0, 290.8, 328.4, 347.1, 552.3),
    "presets/reading_a_prime": (272.0, 290.8, 337.6, 356.3, 561.5),
    "presets/reading_b": (292.6, 318.4, 369.8, 391.9, 635.0),
    "presets/reading_c": (272.0, 290.8, 411.6, 428.0, 607.8),
    "presets/reading_d": (215.5, 234.3, 272.0, 290.6, 495.8),
    "presets/reading_e": (263.2, 279.1, 310.9, 328.1, 517.3),
}


@pytest.mark.parametrize("name", READINGS)
def test_readings_give_their_published_supply(name: str) -> None:
    file = load_token(SCENARIOS / f"{name}.yaml")
    schedules = list(schedules_of(file.token, file.start).values())
    unlocked = unlocked_at_months(schedules, file.start, [6, 8, 12, 13, 24, 60])
    assert [value / 1e15 for value in unlocked[:-1]] == pytest.approx(READINGS[name], abs=0.051)
    assert unlocked[-1] == file.token.issued
    if name != "presets/reading_e":
        assert unlocked[-1] == 10**18


def test_a_reading_that_does_not_sum_says_so() -> None:
    assert load(SCENARIOS / "presets" / "reading_e.yaml").notes == (
        "allocations sum to 930,000,000 OPEN (93.00 % of the cap): 70,000,000 OPEN missing",
    )
    community, ecosystem = load(SCENARIOS / "presets" / "reading_b.yaml").notes
    assert community.endswith("stopped, at instalment 35 of 48")
    assert ecosystem.endswith("stopped, at instalment 39 of 48")


@pytest.mark.parametrize("path", TOKENS, ids=lambda path: path.stem)
def test_other_tokens_unlock_completely(path: Path) -> None:
    file = load_token(path)
    schedules = list(schedules_of(file.token, file.start).values())
    assert unlocked_at_months(schedules, file.start, [120]) == [file.token.cap.value]
    assert type(load_any(path)) is type(file)


def test_table_rows_are_exact() -> None:
    miners = load_token(SCENARIOS / "tokens" / "from_table.yaml").token.buckets["miners"]
    assert miners.rows[1] == (date(2026, 8, 31), 1_500_000_500_000_000)
    assert sum(amount for _, amount in miners.rows) == miners.allocation - miners.tge_amount
