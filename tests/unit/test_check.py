"""`olsim check`: differences with their lines, files that are wrong, and how inputs are read."""

from __future__ import annotations

import json
from datetime import date
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from models.errors import InputError
from models.governance import ProposalState
from models.units import Duration
from models.vesting import Schedule
from sim.check import collect, run_case
from sim.check.arguments import arguments_of, convert
from sim.commands.check import check

APP = typer.Typer()
APP.command()(check)

GOOD = """\
- name: three parts
  call: models.apportion.apportion
  input: {total: 10, weights: [[1, 1, 1]]}
  expect: [[4, 3, 3]]
"""


def write(folder: Path, text: str, name: str = "case.formula.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(folder: Path, text: str) -> list[str]:
    results = [run_case(case) for case in collect([write(folder, text)])]
    return [problem.replace(f"{folder}/", "") for result in results for problem in result.problems]


def test_a_case_that_holds_says_nothing(tmp_path):
    assert problems_of(tmp_path, GOOD) == []


def test_a_difference_names_line_place_and_gap(tmp_path):
    text = GOOD.replace("[[4, 3, 3]]", "\n    - [4,\n       2, 4]")
    assert problems_of(tmp_path, text) == [
        "case.formula.yaml:6: [0][1] is 3, expected 2 (difference +1)",
        "case.formula.yaml:6: [0][2] is 3, expected 4 (difference -1)",
    ]


def test_fields_of_a_result_are_compared_on_their_own_lines(tmp_path):
    text = """\
- name: pool
  call: models.market.clear_batch
  input: {x: [1000], y: [1000], sell: [0], buy_usd: [1000]}
  expect:
    tokens_to_buyers: [500]
    x: [501]
    z: [1]
"""
    first, second = problems_of(tmp_path, text)
    assert first == "case.formula.yaml:6: x[0] is 500, expected 501 (difference -1)"
    assert second.startswith("case.formula.yaml:7: z is not a field of the result")


def test_integers_beyond_the_cap_are_compared_exactly(tmp_path):
    text = """\
- name: large
  call: models.apportion.apportion_reference
  input: {total: 1_000_000_000_000_000_000_000, weights: [1]}
  expect: [1_000_000_000_000_000_000_001]
"""
    assert problems_of(tmp_path, text) == [
        "case.formula.yaml:4: [0] is 1000000000000000000000, expected 1000000000000000000001 (difference -1)"
    ]


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        ("[0]", "(a float where an integer is expected)"),
        ("[0.1]", "expected 0.1 (difference -0.1)"),
        ("[0.0, 0.0]", "has 1 values, expected 2"),
        ("0.0", "expected 0.0"),
        ("[null]", "expected None"),
        ("[false]", "expected False"),
    ],
)
def test_a_float_is_not_an_integer_nor_a_list_a_number(tmp_path, expect, message):
    text = f"""\
- name: equal
  call: models.inequality.gini
  input: {{amounts: [[1, 1]]}}
  expect: {expect}
"""
    (problem,) = problems_of(tmp_path, text)
    assert message in problem


def test_a_tolerance_is_relative(tmp_path):
    text = """\
- {call: models.inequality.gini, input: {amounts: [[0, 1, 1]]}, expect: [0.3333], tolerance: 2.0e-4}
- {call: models.inequality.gini, input: {amounts: [[0, 1, 1]]}, expect: [0.3333], tolerance: 5.0e-5}
"""
    (problem,) = problems_of(tmp_path, text)
    assert "formula.yaml:2: [0] is 0.333333" in problem


def test_errors_are_expected_or_findings(tmp_path):
    text = """\
- {name: asked, call: models.inequality.gini, input: {amounts: [[-1]]}, raises: is negative}
- {name: unasked, call: models.inequality.gini, input: {amounts: [[-1]]}, expect: [0.0]}
- {name: other, call: models.inequality.gini, input: {amounts: [[-1]]}, raises: too long}
- {name: none, call: models.inequality.gini, input: {amounts: [[1]]}, raises: is negative}
"""
    unasked, other, none = problems_of(tmp_path, text)
    assert unasked == "case.formula.yaml:2: raised ValueError: amount -1 is negative"
    assert other.endswith("amount -1 is negative; expected an error with 'too long'")
    assert none == "case.formula.yaml:4: expected an error with 'is negative', got array([0.])"


def test_a_csv_file_is_many_cases(tmp_path):
    write(tmp_path, "day,months,expect\n2026-01-31,1,2026-02-28\n2026-01-31,2,2026-03-30\n", "months.csv")
    text = "- {name: months, call: models.calendar.add_months, csv: months.csv}\n"
    (problem,) = problems_of(tmp_path, text)
    assert problem == "months.csv:3: result is 2026-03-31, expected 2026-03-30"


def test_csv_cells_may_be_lists_and_results_may_have_fields(tmp_path):
    write(tmp_path, "proposed,delay,period,expect.snapshot,expect.deadline\n5,1,2,6,9\n", "times.csv")
    write(tmp_path, "total,weights,expect\n7,1 1,4 3\n", "parts.csv")
    text = """\
- {name: times, call: models.governance.Timetable.build, csv: times.csv}
- {name: parts, call: models.apportion.apportion_reference, csv: parts.csv}
"""
    assert problems_of(tmp_path, text) == ["times.csv:2: deadline is 8, expected 9 (difference -1)"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {name: a, call: models.inequality.gini, expects: 1}", ":1:43: expects: unknown key"),
        ("- {name: a, input: {}, expect: 1}", ":1:3: call: is missing"),
        ("- {name: a, call: models.inequality.gino, expect: 1}", "'models.inequality.gino' does not exist"),
        ("- {name: a, call: os.path.join, expect: 1}", "is not a public function of models"),
        ("- {name: a, call: models.inequality._checked, expect: 1}", "is not a public function of models"),
        ("- {name: a, call: models.inequality.np.sort, expect: 1}", "is not a function of models"),
        (
            "- {name: a, call: models.inequality.gini, input: {amount: 1}, expect: 1}",
            "unknown input 'amount'",
        ),
        ("- {name: a, call: models.inequality.gini, input: {}, expect: 1}", "input 'amounts' is missing"),
        (
            "- {name: a, call: models.inequality.gini, input: {amounts: [[1]]}}",
            "expected one of expect or raises",
        ),
        ("- {name: a, call: models.inequality.gini, input: [1], expect: 1}", "expected {name: value}"),
        (GOOD + "  tolerance: much\n", "'much' is not a relative tolerance"),
        (GOOD + "  expect: 2\n", ":5:3: expect: is given twice"),
        ("- {name: a, call: models.calendar.add_months, csv: none.csv}", "'none.csv' cannot be read"),
        ("- just text", "expected a case with the keys"),
        ("name: a", "expected a list of cases"),
        ("- {name: [", "is not YAML"),
        ("", "expected a list of cases"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path, text, message):
    with pytest.raises(InputError) as caught:
        collect([write(tmp_path, text)])
    assert message in str(caught.value)


def test_all_mistakes_of_all_files_come_at_once(tmp_path):
    write(tmp_path, "- {call: models.x.y, expect: 1}\n- 3\n", "a.formula.yaml")
    write(tmp_path, "name: b", "b.formula.yaml")
    with pytest.raises(InputError) as caught:
        collect([tmp_path, tmp_path / "none.formula.yaml"])
    assert len(caught.value.problems) == 4


def test_a_folder_without_formula_tests_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no file \*\.formula\.yaml"):
        collect([tmp_path])


def test_rows_with_missing_cells_are_refused(tmp_path):
    write(tmp_path, "day,months,expect\n2026-01-31,1\n", "months.csv")
    with pytest.raises(InputError, match=r"months.csv:2: has another number of cells"):
        collect([write(tmp_path, "- {name: months, call: models.calendar.add_months, csv: months.csv}\n")])


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        ("2026-01-31", date, date(2026, 1, 31)),
        ("7 d", Duration, Duration(seconds=604_800)),
        ("3/48", Fraction, Fraction(1, 16)),
        ("1.5 OPEN", int, 1_500_000_000),
        (2, float, 2.0),
        ("QUEUED", ProposalState, ProposalState.QUEUED),
        (None, int | None, None),
        ([1, "2026-01-31"], tuple[int, date], (1, date(2026, 1, 31))),
        ([1, 2], tuple[int, ...], (1, 2)),
        ({"2026-01-31": "1 OPEN"}, dict[date, int], {date(2026, 1, 31): 10**9}),
    ],
)
def test_values_are_read_by_their_annotation(value, hint, expected):
    got = convert(value, hint, "x")
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("value", "hint", "message"),
    [
        (1.5, int, "x is 1.5, not a int"),
        (True, int, "x is True, not a int"),
        ("soon", date, "x: Invalid isoformat string"),
        ("1/0", Fraction, "x: Fraction"),
        ("RUNNING", ProposalState, "expected one of PENDING"),
        ([1], tuple[int, int], "not a list of 2 values"),
        (3, list[int], "x is 3, not a list"),
        ([[1.5]], np.ndarray[tuple[int, ...], np.dtype[np.int64]], "not an array of int64"),
    ],
)
def test_values_of_another_kind_are_refused(value, hint, message):
    with pytest.raises(ValueError) as caught:
        convert(value, hint, "x")
    assert message in str(caught.value)


def test_a_dataclass_is_built_and_its_unknown_fields_are_refused():
    def formula(schedule: Schedule) -> int:
        return schedule.allocation

    formula.__annotations__["schedule"] = Schedule
    given = {"schedule": {"allocation": 5, "start": "2026-01-01", "cliff": "1 month"}}
    assert arguments_of(formula, given)["schedule"].dates == (date(2026, 2, 1),)
    with pytest.raises(ValueError, match=r"schedule\.clif is unknown"):
        arguments_of(formula, {"schedule": {"clif": "1 month"}})


def test_the_command_counts_and_leaves_with_one_when_a_case_fails(tmp_path):
    write(tmp_path, GOOD, "a.formula.yaml")
    assert CliRunner().invoke(APP, [str(tmp_path)]).exit_code == 0
    write(tmp_path, GOOD.replace("[[4, 3, 3]]", "[[3, 4, 3]]"), "b.formula.yaml")
    result = CliRunner().invoke(APP, [str(tmp_path)])
    assert result.exit_code == 1
    assert "b.formula.yaml:4: [0][0] is 4, expected 3 (difference +1)  (three parts)" in result.output
    assert "1 of 2 cases in 2 files pass" in result.output
    answer = json.loads(CliRunner().invoke(APP, [str(tmp_path), "--json"]).stdout)
    assert (answer["cases"], answer["passed"], answer["failed"]) == (2, 1, 1)
    assert answer["failures"][0]["line"] == 1


def test_the_checkouts_own_formula_tests_pass():
    result = CliRunner().invoke(APP, ["--json"])
    answer = json.loads(result.stdout)
    assert answer["failures"] == []
    assert answer["cases"] > 100
    assert result.exit_code == 0
