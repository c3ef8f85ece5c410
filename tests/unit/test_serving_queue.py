"""First come, first served: the recursion, its compiled twin and a queue of SimPy processes wait alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.queueing import fcfs_waits
from sim.kernels.queue import fcfs_waits_fast
from sim.serving.fcfs import fcfs_waits_simpy

QUEUES = (fcfs_waits, fcfs_waits_fast, fcfs_waits_simpy)

WAITS = [
    ("nobody comes", [], [], 3, []),
    ("a free server", [5.0], [2.0], 1, [0.0]),
    ("one after another", [0.0, 1.0, 2.0], [3.0, 3.0, 3.0], 1, [0.0, 2.0, 4.0]),
    ("all at once, two servers", [0.0] * 5, [4.0, 1.0, 1.0, 1.0, 1.0], 2, [0.0, 0.0, 1.0, 2.0, 3.0]),
    ("who comes first goes first", [0.0, 0.0, 1.0, 1.0], [2.0, 3.0, 9.0, 1.0], 2, [0.0, 0.0, 1.0, 2.0]),
    ("no time in service", [0.0, 0.0, 1.0], [0.0, 2.0, 0.0], 1, [0.0, 0.0, 1.0]),
    ("a rest between two jobs", [0.0, 10.0, 11.0], [4.0, 4.0, 4.0], 1, [0.0, 0.0, 3.0]),
]


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue.__name__)
@pytest.mark.parametrize(
    ("case", "arrivals", "services", "servers", "waits"), WAITS, ids=[w[0] for w in WAITS]
)
def test_waits(queue, case, arrivals, services, servers, waits):
    assert queue(np.array(arrivals), np.array(services), servers).tolist() == waits


def lognormal_jobs(count: int, servers: int, rho: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Poisson arrivals and lognormal times in service of mean 1, at a utilisation."""
    generator = np.random.default_rng(seed)
    service = generator.lognormal(-0.5, 1.0, count)
    return np.cumsum(generator.exponential(1.0 / (rho * servers), count)), service


@pytest.mark.parametrize(("servers", "rho"), [(1, 0.5), (2, 0.95), (16, 0.9), (16, 1.2), (37, 0.8)])
def test_processes_and_recursions_wait_alike(servers, rho):
    arrival, service = lognormal_jobs(4000, servers, rho, seed=servers)
    simpy_, plain, fast = (
        queue(arrival, service, servers) for queue in (fcfs_waits_simpy, fcfs_waits, fcfs_waits_fast)
    )
    assert np.array_equal(plain, fast)
    assert np.allclose(simpy_, fast)
    assert np.max(np.abs(simpy_ - fast)) < 1e-9
    assert fast.max() > 0.0


TIMES = st.lists(
    st.tuples(st.integers(0, 8).map(lambda n: n / 4), st.integers(0, 20).map(lambda n: n / 4)), max_size=40
)


@given(TIMES, st.integers(1, 6))
def test_waits_are_exact_on_quarters_and_no_server_idles_while_a_job_waits(jobs, servers):
    arrival = np.cumsum([gap for gap, _ in jobs]) if jobs else np.zeros(0)
    service = np.array([length for _, length in jobs])
    waits = fcfs_waits(arrival, service, servers)
    assert np.array_equal(fcfs_waits_fast(arrival, service, servers), waits)
    assert np.array_equal(fcfs_waits_simpy(arrival, service, servers), waits)
    starts = arrival + waits
    assert np.all(np.diff(starts) >= 0.0)
    for job in np.flatnonzero(waits > 0.0):
        busy = (starts[:job] < starts[job]) & (starts[:job] + service[:job] >= starts[job])
        assert busy.sum() + (starts[:job] == starts[job]).sum() >= servers


@given(TIMES, st.integers(1, 5))
def test_another_server_makes_nobody_wait_longer(jobs, servers):
    arrival = np.cumsum([gap for gap, _ in jobs]) if jobs else np.zeros(0)
    service = np.array([length for _, length in jobs])
    assert np.all(
        fcfs_waits_fast(arrival, service, servers + 1) <= fcfs_waits_fast(arrival, service, servers)
    )


def test_a_single_server_waits_as_pollaczek_and_khinchine_say():
    arrival, service = lognormal_jobs(400_000, 1, 0.7, seed=2)
    mean = 0.7 * float(np.e) / (2 * (1 - 0.7))  # the second moment of the time in service is e
    assert fcfs_waits_fast(arrival, service, 1)[40_000:].mean() == pytest.approx(mean, rel=0.06)


@pytest.mark.parametrize(("arrivals", "servers"), [([0.0, 1.0], 0), ([1.0, 0.0], 2)])
def test_no_server_and_arrivals_that_fall_are_refused(arrivals, servers):
    with pytest.raises(ValueError, match=f"servers {servers} must be 1 or more and arrivals must not fall"):
        fcfs_waits(arrivals, [1.0, 1.0], servers)
