"""The engine against cadCAD: run by cadCAD 0.5.3's own executor, the phases give the engine's rows."""

from __future__ import annotations

import importlib.util
import math
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("cadCAD", reason="needs the cadcad extra")

from models.errors import InputError
from sim import cli
from sim.cadcad import blocks
from sim.cadcad.export import MARK
from sim.clock import PHASES
from sim.engine import run_batch
from sim.observables import OBSERVABLES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
BASELINE = ROOT / "scenarios" / "baseline.yaml"
AGENTS, DAYS, RUNS = 100, 30, 2
Row = dict[str, Any]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """Export the baseline with the command line's defaults and import the module."""
    target = tmp_path_factory.mktemp("cadcad") / "baseline_cadcad.py"
    result = CliRunner().invoke(cli.app, ["cadcad", "export", str(BASELINE), "--out", str(target)])
    assert result.exit_code == 0, result.output
    return imported(target)


@pytest.fixture(scope="module")
def engine_rows(exported: ModuleType) -> list[Row]:
    """Return what the engine records, both runs in one batch."""
    metrics = run_batch(exported.economy, np.arange(RUNS)).metrics
    return [
        {
            "run": run,
            "day": day,
            "date": exported.economy.date_of(day).isoformat(),
            **{name: values[run, day].item() for name, values in metrics.items()},
        }
        for run in range(RUNS)
        for day in range(DAYS + 1)
    ]


@pytest.fixture(scope="module")
def records(exported: ModuleType) -> list[Row]:
    """Return cadCAD's records, one process, cadCAD copying states as it does by default."""
    return blocks.execute(exported.exp)


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def differences(ours: list[Row], theirs: list[Row]) -> list[str]:
    """Return every cell that differs; null equals null, floats to the last bit."""
    assert len(ours) == len(theirs)
    return [
        f"run {mine['run']} day {mine['day']} {name}: {mine[name]!r} and {row[name]!r}"
        for mine, row in zip(ours, theirs, strict=True)
        for name in mine
        if not same(mine[name], row[name])
    ]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    return type(a) is type(b) and bool(a == b)


def test_every_row_is_the_engines(engine_rows: list[Row], records: list[Row]) -> None:
    """100 agents, days 0 to 30, 2 runs: all observables equal, integers and floats alike."""
    rows = blocks.metrics(records)
    assert len(rows) == RUNS * (DAYS + 1)
    assert set(rows[0]) == {"run", "day", "date", *(o.name for o in OBSERVABLES)}
    assert differences(engine_rows, rows) == []


def test_the_comparison_is_over_a_living_economy(engine_rows: list[Row]) -> None:
    """The compared rows move: tokens unlock and trade, prices differ by day and run, nothing is lost."""
    last = [row for row in engine_rows if row["day"] == DAYS]
    assert last[0]["price_usd"] != last[1]["price_usd"]
    assert len({row["price_usd"] for row in engine_rows}) > RUNS * DAYS * 0.9
    assert sum(row["sold_gwei"] for row in engine_rows) > 0
    assert sum(row["emission_gwei"] for row in engine_rows) > 0
    assert {row["conservation_residual_gwei"] for row in engine_rows} == {0}
    assert all(row["total_supply_gwei"] == 10**18 - row["burned_gwei"] for row in engine_rows)


def test_the_comparison_sees_one_gwei_and_one_last_bit(engine_rows: list[Row], records: list[Row]) -> None:
    """A changed integer, a changed float and a number in place of a null are each found."""
    rows = blocks.metrics(records)
    null = next(name for name, value in rows[0].items() if isinstance(value, float) and math.isnan(value))
    changes = {
        "float_gwei": rows[0]["float_gwei"] + 1,
        "price_usd": math.nextafter(rows[0]["price_usd"], math.inf),
        null: 0.0,
    }
    for name, value in changes.items():
        changed = [{**rows[0], name: value}, *rows[1:]]
        found = differences(engine_rows, changed)
        assert len(found) == 1
        assert f"run 0 day 0 {name}:" in found[0]


def test_shape_of_the_records(records: list[Row]) -> None:
    """One row of genesis and one row per block and timestep for each run, in cadCAD's own numbering."""
    steps = (DAYS + 1) * len(PHASES)
    assert len(records) == RUNS * (1 + steps)
    for k in range(RUNS):
        run = records[k * (1 + steps) : (k + 1) * (1 + steps)]
        assert {row["run"] for row in run} == {k + 1}
        assert (run[0]["timestep"], run[0]["substep"], run[0]["world"], run[0]["day"]) == (0, 0, None, -1)
        expected = [(t, s) for t in range(1, DAYS + 2) for s in range(1, len(PHASES) + 1)]
        assert [(row["timestep"], row["substep"]) for row in run[1:]] == expected
        assert all(row["day"] == row["timestep"] - 1 for row in run[1:])
        assert [int(row["world"].runs[0]) for row in run[1:]] == [k] * steps


def test_no_block_changes_a_state_that_was_recorded(records: list[Row]) -> None:
    """cadCAD leaks in-place changes: each recorded world is its own object, of its own day and phase."""
    names = [name for name, _ in PHASES]
    worlds = [row["world"] for row in records if row["substep"]]
    assert len({id(world) for world in worlds}) == len(worlds)
    for row in records:
        if row["substep"]:
            assert (row["world"].day, row["world"].phase) == (row["day"], names[row["substep"] - 1])


def test_result_does_not_depend_on_cadcads_copies(exported: ModuleType, engine_rows: list[Row]) -> None:
    """With cadCAD told not to copy states, the rows are the same: blocks copy what they change."""
    rows = blocks.metrics(blocks.execute(exported.exp, deepcopy_off=True))
    assert differences(engine_rows, rows) == []


@pytest.mark.slow
def test_a_process_per_run_gives_the_same_rows(exported: ModuleType, engine_rows: list[Row]) -> None:
    """cadCAD's multi_proc mode pickles blocks and worlds and yields the same rows."""
    rows = blocks.metrics(blocks.execute(exported.exp, processes=True))
    assert differences(engine_rows, rows) == []


def test_experiment_of_the_library_is_the_exported_one(exported: ModuleType, engine_rows: list[Row]) -> None:
    """`blocks.experiment` builds what the module spells out."""
    rows = blocks.metrics(blocks.execute(blocks.experiment(exported.economy, 1)))
    assert differences([row for row in engine_rows if row["run"] == 0], rows) == []


def test_a_broken_identity_stops_cadcad_too(exported: ModuleType) -> None:
    """A block that loses one gwei is found by the identities at the end of its day."""
    from cadCAD.configuration import Experiment

    from sim.accounts import ACCOUNTS
    from sim.identities import IdentityBroken

    def lose(_params: Any, _substep: int, _history: Any, state: Row) -> Row:
        world = pickle.loads(pickle.dumps(state["world"]))
        world.balances[0, ACCOUNTS["treasury.l1"].index] -= 1
        return {"world": world}

    honest = blocks.blocks(exported.economy)
    thief = {"policies": {"lose": lose}, "variables": {"world": honest[0]["variables"]["world"]}}
    broken = Experiment()
    broken.append_model(
        initial_state=blocks.genesis(),
        partial_state_update_blocks=[*honest[:-1], thief, honest[-1]],
        sim_configs={"N": 1, "T": range(2), "M": {}},
    )
    with pytest.raises(IdentityBroken, match=r"day 0, run 0: account treasury\.l1 is off by -1 gwei"):
        blocks.execute(broken)


@pytest.mark.slow
def test_the_module_runs_as_a_script(exported: ModuleType, engine_rows: list[Row]) -> None:
    """`python MODEL.py` executes the experiment and prints the last day of each run."""
    done = subprocess.run(
        [sys.executable, str(exported.__file__)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    printed = {name: values for name, *values in map(str.split, done.stdout.splitlines())}
    last = [row for row in engine_rows if row["day"] == DAYS]
    for name in ("unlocked_gwei", "float_gwei", "fee_gross_gwei", "conservation_residual_gwei"):
        assert printed[name] == [str(row[name]) for row in last]


def test_a_changed_scenario_is_refused(tmp_path: Path) -> None:
    """The module knows the scenario that it was made from."""
    with pytest.raises(InputError, match="has changed since it was exported"):
        blocks.read_economy(BASELINE, "0" * 64, agents=100, days=1)


def test_somebody_elses_file_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only an earlier export is replaced; other files, folders and names are refused with exit code 2."""
    own = tmp_path / "own.py"
    own.write_text("print('mine')\n")
    for target, message in (
        (own, "exists and is no earlier export"),
        (tmp_path / "model.txt", "must end in .py"),
        (tmp_path / "nowhere" / "model.py", "does not exist"),
    ):
        assert export_by_command_line(BASELINE, target) == 2
        assert message in capsys.readouterr().err
    assert own.read_text() == "print('mine')\n"
    earlier = tmp_path / "earlier.py"
    earlier.write_text(f'"""{MARK}: another scenario."""\n')
    assert export_by_command_line(BASELINE, earlier) == 0
    assert "exp = Experiment()" in earlier.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["earlier.py", "own.py"]


def test_bad_scenario_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A scenario that does not load is exit code 2 and leaves no module."""
    target = tmp_path / "model.py"
    assert export_by_command_line(tmp_path / "missing.yaml", target) == 2
    assert "missing.yaml" in capsys.readouterr().err
    assert not target.exists()


def export_by_command_line(scenario: Path, target: Path) -> int:
    """Run ``olsim cadcad export`` as the command line does; return its exit code."""
    command = typer.main.get_command(cli.app)
    arguments = ["cadcad", "export", str(scenario), "--out", str(target)]
    try:
        return cli.run(lambda: command.main(arguments, prog_name="olsim"))
    except SystemExit as left:
        return int(left.code or 0)
