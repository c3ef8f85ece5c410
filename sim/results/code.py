"""Code version: what computed a result, without asking a version control system.

Rule decided here: the version is the SHA-256 over the package's Python sources and contract artifacts, by
relative path, so that a changed byte of the engine gives another run directory and an unchanged copy
elsewhere the same one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("numpy", "numba", "polars", "simpy", "joblib", "pydantic", "ruamel.yaml", "py-evm", "eth-abi")
_READ_ONLY = ("sim/report", "sim/dashboard", "sim/commands")
"""Parts that only read results: a changed picture is not a changed simulation."""


@cache
def code_version() -> str:
    """Return the SHA-256 of everything that can change a simulated number, in hex."""
    sources = [*_files("models", "*.py"), *_files("sim", "*.py"), *_artifacts()]
    return _digest(path for path in sources if not path.as_posix().startswith(_READ_ONLY))


@cache
def artifacts_sha256() -> str:
    """Return the SHA-256 of the committed contract artifacts, in hex."""
    return _digest(_artifacts())


@cache
def package_versions() -> dict[str, str]:
    """Return what results depend on beside the code: Python, packages, and the CPU feature level in use."""
    found = {"python": python_version(), "simd": simd_level()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def simd_level() -> str:
    """Return the feature level that numpy chose its loops by: another one may change last bits of exp and log."""
    import numpy as np

    features = np.show_config(mode="dicts")["SIMD Extensions"]
    found = [*features.get("baseline", []), *features.get("found", [])]
    levels = [
        name for name in found if name.startswith("X86_V")
    ]  # what comes on top of them changes no float64
    return (levels or found or ["baseline"])[-1]


def _files(folder: str, pattern: str) -> list[Path]:
    paths = (path.relative_to(_ROOT) for path in (_ROOT / folder).rglob(pattern))
    return sorted(path for path in paths if "node_modules" not in path.parts)


def _artifacts() -> list[Path]:
    return _files("sim/chain/artifacts", "*.json")


def _digest(paths: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        content = hashlib.sha256((_ROOT / path).read_bytes()).hexdigest()
        total.update(f"{path.as_posix()}\0{content}\n".encode())
    return total.hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
