"""What the dashboard's tests share: one small run directory and the app on top of it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("streamlit")
pytest.importorskip("plotly")

sys.path.insert(0, str(Path(__file__).parent))
import small_run
from fake_node import CLOSED
from opening import ROOT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test below this folder."""
    for item in items:
        if Path(str(item.path)).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.app)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds one complete run directory, ``small``; tests must not change it."""
    folder = tmp_path_factory.mktemp("runs")
    small_run.write(folder / "small")
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of that folder, which the dashboard reads."""
    shutil.copytree(written, tmp_path / "runs")
    monkeypatch.setenv("OLSIM_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("OLSIM_NODE", CLOSED)
    monkeypatch.chdir(ROOT)
    return tmp_path / "runs"


@pytest.fixture
def nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder without runs, which the dashboard reads."""
    monkeypatch.setenv("OLSIM_RUNS", str(tmp_path / "none"))
    monkeypatch.setenv("OLSIM_NODE", CLOSED)
    monkeypatch.chdir(ROOT)
    return tmp_path / "none"
