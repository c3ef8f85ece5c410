"""The command line itself: how commands are found, what loads, and which exit code an error gets."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
import time
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import sim
from models.errors import InputError, Problem
from sim import cli
from sim.identities import IdentityBroken
from sim.ledger import FlowRefused

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "app",
    "cadcad",
    "chain",
    "check",
    "explain",
    "node",
    "params",
    "preview",
    "report",
    "run",
    "schema",
    "unlocks",
    "validate",
}
HEAVY = (
    "numpy",
    "numba",
    "polars",
    "pydantic",
    "simpy",
    "torch",
    "streamlit",
    "eth",
    "matplotlib",
    "cadCAD",
    "pandas",
)

RUN_AND_LIST_MODULES = (
    "cli.run(lambda: cli.typer.main.get_command(cli.app).main(prog_name='olsim', standalone_mode=False));"
    "print('LOADED', *(name for name in sys.modules if '.' not in name))"
)


def olsim(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    program = f"import sys; sys.argv = ['olsim', *sys.argv[1:]]; from sim import cli; {code or 'cli.main()'}"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def raiser(error: BaseException):
    def command() -> None:
        raise error

    return command


def test_every_command_of_the_project_is_an_entry_point() -> None:
    """Thirteen commands and the bench of the node are registered."""
    assert {entry.name for entry in entry_points(group="olsim.commands")} >= COMMANDS
    assert "node" in {entry.name for entry in entry_points(group="olsim.benches")}


def test_help_lists_every_command_and_imports_no_heavy_package() -> None:
    """`olsim --help` prints each command with its docstring's first line, read from source."""
    done = olsim("--help", code=RUN_AND_LIST_MODULES)
    assert done.returncode == 0, done.stderr
    text, loaded = done.stdout.split("LOADED ")
    assert set(HEAVY).isdisjoint(loaded.split())
    for name in COMMANDS | {"bench"}:
        assert f" {name} " in text
    assert "dashboard" in text


def test_summary_is_the_docstring_of_the_loaded_command() -> None:
    """What the listing reads from source is what the imported function says."""
    entry = EntryPoint(name="check", value="sim.commands.check:check", group="olsim.commands")
    assert cli.summary(entry) == (entry.load().__doc__ or "").partition("\n")[0] != ""
    assert cli.summary(EntryPoint(name="x", value="no_such_package.module:f", group="olsim.commands")) == ""


def test_summary_of_a_typer_app_is_its_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group's summary is the ``help`` of its `typer.Typer`, else the module's docstring."""
    package = tmp_path / "group_of_commands"
    package.mkdir()
    (package / "__init__.py").write_text('"""Module text."""\n')
    (package / "named.py").write_text('import typer\napp = typer.Typer(help="Serve and measure.")\n')
    (package / "plain.py").write_text('"""First line.\n\nMore."""\nimport typer\napp = typer.Typer()\n')
    monkeypatch.syspath_prepend(tmp_path)
    assert cli.summary(EntryPoint("a", "group_of_commands.named:app", "g")) == "Serve and measure."
    assert cli.summary(EntryPoint("b", "group_of_commands.plain:app", "g")) == "First line."
    assert "group_of_commands" not in sys.modules


def test_a_foreign_package_can_add_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution with an entry point in ``olsim.commands`` is mounted, listed and run."""
    info = tmp_path / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[olsim.commands]\ngreet = stranger_commands:greet\n")
    (tmp_path / "stranger_commands.py").write_text(
        "import typer\n\ndef greet(name: str) -> None:\n    typer.echo(f'hello {name}')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    result = CliRunner().invoke(cli.app, ["greet", "Ada"])
    assert (result.exit_code, result.output) == (0, "hello Ada\n")
    assert "greet" in CliRunner().invoke(cli.app, ["--help"]).output


def test_version() -> None:
    """`olsim --version` says the package's version."""
    result = CliRunner().invoke(cli.app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"olsim {sim.__version__}\n")


def test_unknown_command_names_the_nearest() -> None:
    """A typo is exit code 2 and names the command that was meant."""
    done = olsim("unlock")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Did you mean 'unlocks'" in done.stderr


def test_input_error_prints_all_problems_and_is_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Every problem is its own line on standard error; standard output stays empty."""
    problems = [Problem("must be at least 0", path="runs.count", where="a.yaml:3:8"), "no such file: b.csv"]
    assert cli.run(raiser(InputError(problems))) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "a.yaml:3:8: runs.count: must be at least 0\nno such file: b.csv\n"


@pytest.mark.parametrize(
    "error",
    [
        IdentityBroken("identity 5 broken on day 3, run 1:\n account distributor is off by 1 gwei"),
        FlowRefused("flow F1 refused on day 3: account distributor is not its source"),
        type("ReconciliationError", (RuntimeError,), {"__module__": "sim.chain.reconcile"})(
            "account treasury"
        ),
        type("LedgerReconciliationError", (RuntimeError,), {"__module__": "sim.chain.x"})("account treasury"),
    ],
    ids=["identity", "flow", "reconciliation", "named reconciliation"],
)
def test_failed_check_is_one_line_and_exit_1(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken identity, a refused flow or a chain that disagrees names its account on one line."""
    assert cli.run(raiser(error)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("olsim stopped: ")
    assert "account" in err
    assert err.count("\n") == 1


def test_missing_package_says_how_to_get_it(capsys: pytest.CaptureFixture[str]) -> None:
    """A command of an extra that is not installed says so and is exit code 2."""
    assert cli.run(raiser(ModuleNotFoundError("No module named 'torch'", name="torch"))) == 2
    assert (
        capsys.readouterr().err
        == "this command needs the Python package 'torch': `make setup-all` installs it\n"
    )


@pytest.mark.parametrize(
    "error", [KeyError("x"), ModuleNotFoundError("No module named 'sim.nowhere'", name="sim.nowhere")]
)
def test_a_bug_keeps_its_traceback(error: Exception) -> None:
    """An error that nobody planned is not dressed up as bad input."""
    with pytest.raises(type(error)):
        cli.run(raiser(error))


def test_exit_code_of_a_command_goes_through() -> None:
    """A command's own exit code is the process's."""
    app = typer.Typer()
    app.command()(raiser(typer.Exit(7)))
    with pytest.raises(SystemExit) as left:
        cli.run(lambda: typer.main.get_command(app).main([], prog_name="x"))
    assert left.value.code == 7


def test_command_modules_do_not_import_heavy_packages_at_the_top() -> None:
    """Options are known before matplotlib, pandas, torch or an EVM is imported: start-up stays short."""
    slow = {"matplotlib", "pandas", "streamlit", "torch", "eth", "cadCAD", "numba", "plotly"}
    found = []
    for entry in entry_points(group="olsim.commands"):
        source = importlib.util.find_spec(entry.module)
        assert source is not None, f"{entry.value} does not exist"
        assert source.origin is not None
        for node in ast.parse(Path(source.origin).read_text(encoding="utf-8")).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{entry.module}: {name}" for name in names if name.partition(".")[0] in slow]
    assert found == []


def test_start_up_is_short() -> None:
    """Finding the commands and saying the version takes under 0.3 s, here with room for a busy machine."""
    best = min(timed("--version") for _ in range(3))
    assert best < 0.6


def test_validate_starts_quickly() -> None:
    """`olsim validate` answers without the engine: no numba, no matplotlib, no polars in its process."""
    done = olsim("validate", "scenarios/baseline.yaml", code=RUN_AND_LIST_MODULES)
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.split("LOADED ")[1].split()
    assert {"numba", "polars", "matplotlib", "simpy", "pandas", "eth"}.isdisjoint(loaded)


def timed(*arguments: str) -> float:
    begun = time.perf_counter()
    assert olsim(*arguments).returncode == 0
    return time.perf_counter() - begun
