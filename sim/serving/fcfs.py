"""A first-come, first-served queue as SimPy processes: the reference that its fast twins are held against.

Rule decided here: a job is a process that asks a resource of `servers` places for one, keeps it for its time in service
and leaves. The recursions are `models.queueing.fcfs_waits` and `sim.kernels.queue.fcfs_waits_fast`.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import simpy

from models.serving import FloatArray


def fcfs_waits_simpy(arrival_s: FloatArray, service_s: FloatArray, servers: int) -> FloatArray:
    """Return each job's wait in seconds, shape (jobs,).

    Parameters
    ----------
    arrival_s, service_s
        Moments of arrival, not falling, and time in service, shape (jobs,).
    servers
        Equal servers behind the one queue.
    """
    environment = simpy.Environment()
    resource = simpy.Resource(environment, servers)
    wait = np.empty(arrival_s.shape[0])

    def job(number: int, arrival: float, service: float) -> Generator[simpy.Event, Any, None]:
        with resource.request() as place:
            yield place
            wait[number] = environment.now - arrival
            yield environment.timeout(service)

    def source() -> Generator[simpy.Event, Any, None]:
        pairs = zip(arrival_s.tolist(), service_s.tolist(), strict=True)
        for number, (arrival, service) in enumerate(pairs):
            yield environment.timeout(max(arrival - environment.now, 0.0))
            environment.process(job(number, arrival, service))

    environment.process(source())
    environment.run()
    return wait
