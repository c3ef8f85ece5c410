"""Arrays of gwei, up to the cap, for tests of kernels against their references."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from sim.world import Layout

CAP = 10**18
LAYOUT = Layout.of(
    {"holders": 90, "users": 70, "contributors": 40, "builders": 6, "operators": 3, "investors": 2, "team": 2,
     "delegates": 1, "traders": 5}
)  # fmt: skip
RUNS = np.array([0, 4, 9], np.int64)
SHAPE = (len(RUNS), LAYOUT.agents)


@st.composite
def generators(draw):
    """A generator of arrays and the size of amounts: small, usual, or whole caps."""
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1))), draw(
        st.sampled_from([3, 10**9, 10**13, CAP // 4])
    )


def gwei(generator, most, shape=SHAPE):
    """Amounts up to `most`, a third of them 0 and a few exactly that."""
    out = generator.integers(0, most, shape, endpoint=True)
    out[generator.random(shape) < 0.3] = 0
    out[generator.random(shape) < 0.1] = most
    return out
