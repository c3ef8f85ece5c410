"""The command line: `olsim` and how its commands are found.

Rule decided here: every entry point of the group ``olsim.commands`` is a command and every one of
``olsim.benches`` is a bench. A command's module is imported when the command is called and not before, so
that `olsim validate` never waits for the engine; `olsim --help` reads the docstrings from the source. Bad
input leaves with exit code 2 and all problems on standard error, a check that failed (an identity, a flow, a
reconciliation) with exit code 1 and one line.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from models.errors import InputError
from sim import __version__

FAILURES = (
    "sim.identities.IdentityBroken",
    "sim.ledger.FlowRefused",
    "sim.governance_gateway.GatewayError",
    "sim.experiment.failures.CheckFailed",
    "sim.experiment.failures.WorkerLost",
)
"""Errors that are results and no bugs, by name: their modules load the engine and are not imported here."""
OWN_PACKAGES = ("sim", "models", "reference_node")


class EntryPointGroup(TyperGroup):
    """A group of commands whose members are the entry points of `entry_group`, loaded when called."""

    entry_group = ""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.entries = {entry.name: entry for entry in entry_points(group=self.entry_group)}
        placeholders = {name: TyperCommand(name) for name in self.entries}
        self.commands = dict(sorted({**self.commands, **placeholders}.items()))

    def format_help(self, *arguments: Any) -> None:
        """Write the help text, with each command's summary read from its source."""
        for name, entry in self.entries.items():
            self.commands[name].help = summary(entry)
        super().format_help(*arguments)

    def resolve_command(self, *arguments: Any) -> Any:
        """Return name, command and remaining arguments, with the real command in place of its placeholder."""
        name, command, rest = super().resolve_command(*arguments)
        if name in self.entries:
            command = load(self.entries[name])
        return name, command, rest


class Commands(EntryPointGroup):
    """The commands of `olsim`."""

    entry_group = "olsim.commands"


class Benches(EntryPointGroup):
    """The benches of `olsim bench`."""

    entry_group = "olsim.benches"


def load(entry: EntryPoint) -> Any:
    """Import an entry point and return it as a command.

    Parameters
    ----------
    entry
        Names a function with typer's annotations, or a `typer.Typer`.

    Returns
    -------
    typer.core.TyperCommand or typer.core.TyperGroup
        The command.
    """
    target = entry.load()
    if isinstance(target, typer.Typer):
        return typer.main.get_command(target)
    single = typer.Typer(add_completion=False)
    single.command(entry.name)(target)
    return typer.main.get_command(single)


def summary(entry: EntryPoint) -> str:
    """Return the first line of a command's docstring, read from its source without importing it.

    Parameters
    ----------
    entry
        Names a function, or a variable that holds a `typer.Typer` (then its ``help``, else the module's
        docstring).

    Returns
    -------
    str
        One line, or "" where there is no source to read.
    """
    source = _source(entry.module)
    if source is None:
        return ""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    text = ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == entry.attr:
            text = ast.get_docstring(node)
        elif isinstance(node, ast.Assign) and any(
            ast.unparse(target) == entry.attr for target in node.targets
        ):
            text = _help_argument(node.value) or text
    return (text or "").partition("\n")[0]


def _help_argument(value: ast.expr) -> str | None:
    if not isinstance(value, ast.Call):
        return None
    given = [word.value for word in value.keywords if word.arg == "help"]
    return str(given[0].value) if given and isinstance(given[0], ast.Constant) else None


def _source(module: str) -> Path | None:
    package, *rest = module.split(".")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0], *rest)
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
bench = typer.Typer(
    cls=Benches, no_args_is_help=True, help="Ratios measured in one run; exit 1 when one is under its bar."
)
app.add_typer(bench, name="bench")


@bench.callback()
def _bench() -> None:
    """Make the group a group even while it is empty."""


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"olsim {__version__}")
        raise typer.Exit


@app.callback()
def olsim(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version and leave."),
    ] = False,
) -> None:
    """Simulate a token economy that pays for AI: scenario files, agents, a measured node, real contracts."""


def main() -> None:
    """Run `olsim` and leave with its exit code: 0 done, 1 a check failed, 2 bad input."""
    sys.exit(run(lambda: typer.main.get_command(app).main(prog_name="olsim")))


def run(command: Callable[[], object]) -> int:
    """Run a command and turn the errors that belong to people into a message and an exit code.

    Parameters
    ----------
    command
        What to do; it may leave by SystemExit.

    Returns
    -------
    int
        0, or 2 for bad input and packages that are missing, 1 for a check that failed. Other errors go
        through.
    """
    try:
        command()
    except InputError as error:
        for problem in error.problems:
            typer.echo(str(problem), err=True)
        return 2
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in OWN_PACKAGES:
            raise
        typer.echo(
            f"this command needs the Python package '{error.name}': `make setup-all` installs it", err=True
        )
        return 2
    except Exception as error:
        if not is_failure(error):
            raise
        typer.echo(f"olsim stopped: {' '.join(str(error).split())}", err=True)
        return 1
    return 0


def is_failure(error: BaseException) -> bool:
    """Return whether an error says that a check failed or a worker was lost, not that the code is wrong."""
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    return bool(names & set(FAILURES)) or any(
        name.startswith("sim.chain.") and name.endswith("ReconciliationError") for name in names
    )


if __name__ == "__main__":
    main()
