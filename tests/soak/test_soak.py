"""Ten minutes under four times a node's load; `SOAK_SECONDS` sets another time. Seconds of it: `test_node_soak.py`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("fastapi", reason="needs the node extra (fastapi)")

from tests.node.api_world import make_base
from tests.soak.house import said_alone, soak


@pytest.mark.soak
def test_soak(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    soak(base, said_alone(base), tmp_path / "data", float(os.environ.get("SOAK_SECONDS", "600")))
