"""What every test shares: no network, one thread, hypothesis profiles, skips for missing tools."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

# The hooks of schemathesis belong to `make test-api`, the kernels' tests under the interpreter to `make test-triton`;
# those on a device need the compiler, which CPU builds of torch do not bring.
collect_ignore = ["api", "triton", *([] if find_spec("triton") else ["gpu/test_gpu_kernels.py"])]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave folders whose marker is ruled out unread: importing torch only to deselect takes longer than most tests."""
    ruled_out = f"not {collection_path.name}" in (config.option.markexpr or "")
    return True if ruled_out and collection_path.parent == ROOT / "tests" else None


def pytest_report_header() -> str:
    """Say which tests run elsewhere."""
    return (
        "tests/triton: not collected here, its interpreter needs an older numpy; `make test-triton` runs it"
    )


settings.register_profile("dev", deadline=None, max_examples=50)
# the same examples in every CI run, so that a change and nothing else turns it red; "dev" looks for new ones
settings.register_profile(
    "ci", deadline=None, max_examples=200, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


class NetworkUsedError(RuntimeError):
    """A test tried to leave the machine."""


def _is_local(family: int, address: Any) -> bool:
    if family not in (socket.AF_INET, socket.AF_INET6):
        return True
    host = str(address[0])
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that is not to this machine."""
    connect = socket.socket.connect

    def local_connect(self: socket.socket, address: Any) -> None:
        if not _is_local(self.family, address):
            raise NetworkUsedError(f"a test may not reach {address}: the suite works without a network")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_connect)


def _missing_tool(marker: str) -> str | None:
    """Return what a marked test lacks on this machine, or None."""
    if marker == "browser" and not any(shutil.which(name) for name in ("chromium", "chromium-browser")):
        return "Chromium is not installed"
    if marker == "compile" and not (shutil.which("node") and shutil.which("npm")):
        return "Node.js is not installed"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests whose tools are missing, with the reason in the summary."""
    for marker in ("browser", "compile"):
        reason = _missing_tool(marker)
        if reason is None:
            continue
        for item in items:
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the top of the checkout."""
    return ROOT
