"""The project itself: pins, make targets, entry points, packages and the size of its files."""

from __future__ import annotations

import ast
import re
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = ("sim", "models", "reference_node")
EXTRAS = {"chain", "app", "node", "cadcad", "dev"}
TARGETS = {"setup", "setup-all", "run", "test", "app", "bench", "lint", "clean"}
LONGEST_FILE = 400


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_name(requirement: str) -> str:
    return canonical(re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0])


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def sources() -> list[Path]:
    found = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return sorted(path for path in found if "node_modules" not in path.parts)


def make(*arguments: str) -> str:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_requirement_is_pinned_exactly_and_by_name_alone() -> None:
    """constraints.txt pins each requirement of each extra and names no host, no file, no build of torch."""
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line), line
    pinned = {canonical(name) for name in pins()}
    wanted = [*PROJECT["project"]["dependencies"]]
    for requirements in PROJECT["project"]["optional-dependencies"].values():
        wanted += requirements
    assert sorted({requirement_name(w) for w in wanted} - pinned) == []
    assert pins()["torch"] == "2.13.0"


def test_extras_and_python() -> None:
    """The extras are those of the set-up, and Python 3.11 is enough."""
    assert set(PROJECT["project"]["optional-dependencies"]) >= EXTRAS
    assert PROJECT["project"]["requires-python"] == ">=3.11"


def test_make_has_the_targets_and_run_needs_no_torch() -> None:
    """`make run` installs core, chain and app; torch comes with `make setup-all`, pinned and by itself."""
    listed = set(re.findall(r"^make (\S+)", make("help"), flags=re.MULTILINE))
    assert listed >= TARGETS
    plan = make("--dry-run", "--always-make", "run")
    assert "torch" not in plan
    assert "--editable '.[chain,app]'" in plan
    assert "olsim run" in plan.splitlines()[-1]
    everything = make("--dry-run", "--always-make", "setup-all")
    torch = next(line for line in everything.splitlines() if "torch" in line)
    assert torch.endswith("--constraint constraints.txt torch==2.13.0")


def test_make_test_runs_the_whole_suite_and_lint() -> None:
    """Slow, chain, browser, compile and node tests run; only gpu, bench and soak stay out."""
    plan = make("--dry-run", "test")
    assert 'pytest -m "not gpu and not bench and not soak"' in plan
    for tool in ("ruff check", "ruff format --check", "mypy --strict", "lint-imports"):
        assert tool in plan


def test_continuous_integration_calls_make_test() -> None:
    """.ci/run is an executable script that ends in `make test`."""
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    assert script.read_text(encoding="utf-8").rstrip().endswith("exec make test")
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_readme_opens_with_the_two_commands() -> None:
    """A stranger finds `make run` and `make test` in the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make run" in text
    assert "make test" in text


def test_changelog_says_whether_numbers_change() -> None:
    """Each entry under a version says what it does to results."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    entries = re.split(r"^- ", text.partition("## [Unreleased]")[2], flags=re.MULTILINE)[1:]
    assert entries
    for entry in entries:
        assert re.search(r"numbers", entry, flags=re.IGNORECASE), entry


@pytest.mark.parametrize("group", ["olsim.commands", "olsim.benches"])
def test_every_entry_point_exists(group: str) -> None:
    """Each entry names a module of this checkout and something that the module defines at its top."""
    missing = []
    for name, value in PROJECT["project"]["entry-points"][group].items():
        module, _, attribute = value.partition(":")
        path = ROOT.joinpath(*module.split("."))
        source = next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)
        if source is None or attribute not in top_names(source):
            missing.append(f"{name} = {value}")
    assert missing == []


def test_every_folder_of_modules_is_a_package() -> None:
    """A folder without ``__init__.py`` would be left out of the import rules and of the installed package."""
    folders = {path.parent for path in sources()}
    assert sorted(str(f.relative_to(ROOT)) for f in folders if not (f / "__init__.py").is_file()) == []


def test_files_are_short_and_say_their_rule_first() -> None:
    """Every module opens with a docstring (an empty ``__init__.py`` may not) and has at most 400 lines."""
    texts = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in sources()}
    silent = [str(p) for p, text in texts.items() if text.strip() and not ast.get_docstring(ast.parse(text))]
    assert silent == []
    assert [str(p) for p, text in texts.items() if text.count("\n") > LONGEST_FILE] == []


def test_typed_packages_say_so() -> None:
    """`sim` and `models` carry py.typed."""
    assert (ROOT / "sim" / "py.typed").is_file()
    assert (ROOT / "models" / "py.typed").is_file()


def test_licence() -> None:
    """The licence is MIT, in the file and in the metadata."""
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")
    assert PROJECT["project"]["license"] == "MIT"


def top_names(source: Path) -> set[str]:
    """Return functions, classes, assigned and imported names at a module's top."""
    names: set[str] = set()
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {ast.unparse(target) for target in node.targets}
        elif isinstance(node, ast.AnnAssign):
            names.add(ast.unparse(node.target))
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names
