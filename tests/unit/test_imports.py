"""Import rules: `import sim` needs no heavy package, and nothing reads the clock or the network."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "streamlit", "eth", "eth_tester", "web3", "peft", "transformers")
LIGHT_MODULES = (
    "sim",
    "sim.clock",
    "sim.begin",
    "sim.cli",
    "sim.economy",
    "sim.engine",
    "sim.ledger",
    "sim.results",
    "sim.scenario",
    "sim.serving.fleet",
)

BLOCKED_IMPORT = """
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy!r}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
for module in {modules!r}:
    importlib.import_module(module)
loaded = sorted({heavy!r} & {{name.partition(".")[0] for name in sys.modules}})
print("loaded", loaded)
"""

# module.attribute -> why a call of it would make results depend on the day, the machine or the network
CLOCKS = {
    "date.today",
    "datetime.today",
    "datetime.now",
    "datetime.utcnow",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.date.today",
    "time.time",
    "time.time_ns",
    "time.localtime",
    "time.gmtime",
    "os.urandom",
    "random.random",
    "np.random.default_rng",
    "numpy.random.default_rng",
    "np.random.seed",
    "uuid.uuid4",
    "secrets.token_hex",
}
CLOCK_ALLOWED: dict[str, str] = {}
"""Path -> why it may read the clock: what it reads is shown, never computed with."""
SPEAKERS = {
    "sim/chain/backends/transport.py": "to the nodes of `olsim run --chain rpc://HOST:PORT`",
    "sim/dashboard/node_client.py": "to the running node that a reader of the dashboard names",
}
"""Path -> whom it speaks to, when it is asked."""
NETWORK_MODULES = {"requests", "urllib.request", "http.client", "ftplib", "smtplib", "httpx", "aiohttp"}


def sources(*packages: str) -> list[Path]:
    found = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    return [path for path in found if "node_modules" not in path.parts]


def test_core_imports_without_heavy_packages() -> None:
    """All core modules import where torch, Streamlit, py-evm, web3 and peft cannot be imported."""
    code = BLOCKED_IMPORT.format(heavy=set(HEAVY), modules=LIGHT_MODULES)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "loaded []"


def test_import_rules_between_rooms_hold() -> None:
    """Every contract of import-linter is kept."""
    lint = Path(sys.executable).with_name("lint-imports")
    if not lint.exists():
        pytest.skip("needs the dev extra (import-linter)")
    done = subprocess.run([str(lint)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kept, 0 broken" in done.stdout


@pytest.mark.parametrize("package", ["models", "sim"])
def test_nothing_reads_clock_or_entropy(package: str) -> None:
    """Same scenario, same numbers, on any date: no module asks for today, the time or fresh entropy."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sources(package)
        if str(path.relative_to(ROOT)) not in CLOCK_ALLOWED
        for line, name in clock_calls(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_clock_allow_list_is_current() -> None:
    """Every file of the allow-list exists and still reads the clock."""
    for path in CLOCK_ALLOWED:
        assert clock_calls((ROOT / path).read_text(encoding="utf-8")), f"{path} needs no exception any more"


def test_clock_search_finds_what_it_looks_for() -> None:
    """The search sees calls through a module, through a class and through an imported name."""
    imports = "import time\nfrom datetime import date\nfrom time import time as now\n"
    text = f"{imports}x = date.today()\ny = time.time()\nz = now()\n"
    assert [name for _, name in clock_calls(text)] == ["date.today", "time.time", "time.time"]


@pytest.mark.parametrize("package", ["models", "sim"])
def test_no_network_client_is_imported(package: str) -> None:
    """The simulator speaks to nobody, but for the modules that reach what somebody names."""
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources(package)
        for name in imported(path.read_text(encoding="utf-8"))
        if name in NETWORK_MODULES and str(path.relative_to(ROOT)) not in SPEAKERS
    ]
    assert found == []


def test_banned_top_module_is_not_imported() -> None:
    """app.py is the top: nothing imports it."""
    assert importlib.util.find_spec("app") is None or not [
        str(path)
        for path in sources("sim", "models", "reference_node")
        if "app" in imported(path.read_text(encoding="utf-8"))
    ]


def clock_calls(text: str) -> list[tuple[int, str]]:
    """Return (line, dotted name) of each call in `CLOCKS`, following ``from x import y as z``."""
    tree = ast.parse(text)
    alias = {
        name.asname or name.name: f"{node.module}.{name.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        for name in node.names
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            dotted = ast.unparse(node.func)
            dotted = alias.get(dotted, dotted) if "." not in dotted else dotted
            if dotted in CLOCKS:
                found.append((node.lineno, dotted))
    return sorted(found)


def imported(text: str) -> set[str]:
    """Return the names of all modules that a source imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names
