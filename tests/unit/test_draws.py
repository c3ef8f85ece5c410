"""Keyed draws: published known answers, the reference, and independence of batching."""

from __future__ import annotations

import numpy as np
import pytest

from sim import draws
from sim.draws import CLASS_CODES, Decision
from sim.kernels import philox

KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
"""Random123's kat_vectors for Philox4x32-10."""


@pytest.mark.parametrize(("counter", "key", "block"), KNOWN_ANSWERS)
def test_reference_gives_the_published_answers(counter, key, block):
    assert draws.philox_reference(counter, key) == block


@pytest.mark.parametrize(("counter", "key", "block"), KNOWN_ANSWERS)
def test_kernel_gives_the_published_answers(counter, key, block):
    agent, day, run, stream = counter
    seed = key[0] | key[1] << 32
    u64 = np.uint64
    for word in range(4):
        out = philox.new_words(1, 1)
        philox.philox_words(
            u64(seed), u64(stream), np.array([run], np.uint64), u64(day), u64(agent), u64(word), out
        )
        assert int(out[0, 0]) == block[word]


@pytest.mark.parametrize("decision", [Decision.HOLDER_SELL, Decision.HOLDER_WRAP, Decision.PRICE_SHOCK_B])
def test_kernel_equals_reference(decision):
    seed, day = 0x1234_5678_9ABC_DEF0, 731
    runs = np.array([0, 7, 63], np.int64)
    drawn = draws.words(seed, decision, runs, day, "users", 5, first=100)
    stream, word = decision.value
    for i, run in enumerate(runs.tolist()):
        for a in range(5):
            agent = CLASS_CODES["users"] << 24 | (100 + a)
            block = draws.philox_reference((agent, day, run, stream), (seed & 0xFFFFFFFF, seed >> 32))
            assert int(drawn[i, a]) == block[word]


def test_a_draw_does_not_depend_on_batch_or_neighbours():
    whole = draws.uniform(7, Decision.USER_ACTIVE, np.arange(6), 11, "holders", 50)
    part = draws.uniform(7, Decision.USER_ACTIVE, np.array([4]), 11, "holders", 10, first=20)
    assert np.array_equal(whole[4, 20:30], part[0])


def test_decisions_never_share_a_word():
    assert len({decision.value for decision in Decision}) == len(Decision.__members__)


def test_uniforms_lie_inside_the_unit_interval_and_average_a_half():
    u = draws.uniform(1, Decision.HOLDER_SELL, np.arange(20), 3, "holders", 5000)
    assert u.min() > 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 0.005


def test_normals_have_unit_spread():
    z = draws.normal(1, Decision.PRICE_SHOCK, np.arange(4), 3, "holders", 5000)
    assert abs(z.mean()) < 0.03
    assert abs(z.std() - 1) < 0.02
