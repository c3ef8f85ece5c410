"""A node under four times its load while adapters come and go: nothing wrong, nothing lost, nothing leaked.

The same as `make soak` (tests/soak), for seconds: this folder is read where that one is left out.
"""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("fastapi", reason="needs the node extra (fastapi)")

from tests.node.api_world import make_base
from tests.soak.house import said_alone, soak

pytestmark = pytest.mark.node


def test_soak_briefly(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    soak(base, said_alone(base), tmp_path / "data", 20.0)
