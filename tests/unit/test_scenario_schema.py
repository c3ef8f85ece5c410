"""The committed JSON Schema, and the commands that show files and parameters."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from sim.cli import run
from sim.commands.params import params, table
from sim.commands.schema import schema
from sim.commands.validate import validate
from sim.scenario import load
from sim.scenario.jsonschema import schema_text

SCENARIOS = Path(__file__).parents[2] / "scenarios"
FILES = sorted(SCENARIOS.rglob("*.yaml"))


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    return node.isoformat() if isinstance(node, date) else node


@pytest.fixture(scope="module")
def validator() -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    return jsonschema.Draft202012Validator(json.loads(schema_text()))


def test_committed_schema_is_current() -> None:
    committed = (SCENARIOS / "scenario.schema.json").read_text(encoding="utf-8")
    assert committed == schema_text(), "run: olsim schema --out scenarios/scenario.schema.json"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_fits_the_schema_and_names_it(path: Path, validator: Any) -> None:
    text = path.read_text(encoding="utf-8")
    modeline = text.splitlines()[0]
    assert modeline.startswith("# yaml-language-server: $schema=")
    assert (path.parent / modeline.partition("=")[2]).resolve() == SCENARIOS / "scenario.schema.json"
    assert [error.message for error in validator.iter_errors(_plain(YAML(typ="safe").load(text)))] == []


def test_resolved_scenario_fits_the_schema(validator: Any) -> None:
    resolved = load(SCENARIOS / "proposals" / "data_first.yaml").resolved()
    assert [error.message for error in validator.iter_errors(resolved)] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"feess": {}},
        {"fees": {"burn": True}},
        {"runs": {"count": "many"}},
        {"token": {"buckets": {"a": {"b": 1}}}},
    ],
)
def test_schema_refuses_what_an_editor_should_mark(wrong: dict[str, Any], validator: Any) -> None:
    assert list(validator.iter_errors(wrong))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_validate_accepts_every_shipped_file(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda: validate(path, [], as_json=True)) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["name"] == path.stem
    assert sum(told["classes"].values()) == told["parameters"] > 0


def test_params_lists_value_class_source_and_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda: params(SCENARIOS / "baseline.yaml", search="QUORUM", as_json=True)) == 0
    (row,) = json.loads(capsys.readouterr().out)["parameters"]
    assert (row["path"], row["value"], row["class"], row["source"]) == (
        "governance.quorum",
        "5 %",
        "documented",
        "gov",
    )
    assert row["place"].startswith(f"{SCENARIOS / 'baseline.yaml'}:")


def test_params_writes_dates_priors_and_splits() -> None:
    values = {row["path"]: row["value"] for row in table(load(SCENARIOS / "baseline.yaml"))}
    assert values["fees.input"] == "2025-11-15: 0.1 USD/1M tokens"
    assert values["fees.split"] == "2:2:5"
    assert values["market.outside_net_inflow"].startswith("triangular(0 USD/month, 1200000 USD/month")


def test_schema_command_prints_the_schema(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(lambda: schema(out=None)) == 0
    assert capsys.readouterr().out == schema_text()
    assert run(lambda: schema(out=tmp_path / "schema.json")) == 0
    assert (tmp_path / "schema.json").read_text(encoding="utf-8") == schema_text()


def test_reading_a_scenario_loads_no_heavy_package() -> None:
    code = (
        "import sys, sim.scenario; from sim.commands.validate import validate; "
        "heavy = {'polars', 'numba', 'simpy', 'pandas', 'streamlit', 'torch', 'eth', 'matplotlib', 'rich'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
