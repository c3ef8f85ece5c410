"""One replica with continuous batching, in numba: the twin of `sim.serving.replicas` for a fleet of one.

Rule decided here: the rules are those of the reference, a model of SimPy processes, which states them; moments are
added up in its order, so that both give the same times. What several replicas behind one queue do is left to the
reference.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.kernels.adapter_cache import (
    BROUGHT,
    FULL,
    HIT,
    Cache,
    CacheRules,
    acquire,
    append,
    next_ready,
    part,
    release,
    remove,
)
from sim.kernels.replica_state import (
    CONTEXT,
    DISTINCT,
    NEXT,
    PLANS,
    PROMPTS,
    REGROUPED,
    ROWS,
    STEPS,
    Machine,
    Records,
    State,
    Window,
)


@part
def _next_arrival(state, window):  # type: ignore[no-untyped-def]
    """Return when the next arrival is heard; from the last one on, as a process that sleeps in between."""
    number = state.counts[NEXT]
    if number == window.arrival.shape[0]:
        return np.inf
    heard, at = state.heard[0], window.arrival[number]
    return heard + (at - heard) if at > heard else heard


@part
def _listen(state, machine, window, records, now, resting):  # type: ignore[no-untyped-def]
    """Take what has come by now into the queue, or refuse it; a resting replica takes one in any case."""
    at = _next_arrival(state, window)
    while at <= now:
        request = state.counts[NEXT]
        state.heard[0] = at
        state.counts[NEXT] += 1
        if not resting and state.queue.size[0] >= machine.queue_max:
            records.refused[request] = True
        else:
            append(state.queue, request)
            resting = False
        at = _next_arrival(state, window)


@part
def _step_ms(state, machine, chunks, tokens):  # type: ignore[no-untyped-def]
    rows = state.counts[ROWS]
    added = machine.joining if rows else machine.alone
    decode = 0.0
    if rows:
        line = machine.line
        decode = line[0] + line[1] * rows + line[2] * state.counts[DISTINCT] + line[3] * state.counts[CONTEXT]
        decode *= machine.factors[rows]
    return decode + (added[0] + added[1] * chunks + added[2] * tokens if tokens else 0.0)


@part
def _feed(state, place, budget):  # type: ignore[no-untyped-def]
    taken = min(state.prompts[1, place], budget)
    state.prompts[1, place] -= taken
    return taken


@part
def _let_pass(state, machine, passed):  # type: ignore[no-untyped-def]
    """Count that a request went before those that wait for a slot; return whether none may do so again."""
    barred = False
    for k in range(passed):
        state.bypassed[state.passed[k]] += 1
        barred |= state.bypassed[state.passed[k]] >= machine.bypass_max
    return barred


@part
def _plan(state, machine, rules, cache, window, records, now):  # type: ignore[no-untyped-def]
    """Fill the coming step; return its prompt chunks, prompt tokens and ms of copies."""
    counts, queue = state.counts, state.queue
    budget = max(machine.step_tokens - counts[ROWS], 1)
    chunks, tokens, copies_ms = 0, 0, 0.0
    for place in range(counts[PROMPTS]):
        taken = _feed(state, place, budget)
        budget, tokens, chunks = budget - taken, tokens + taken, chunks + (taken > 0)
    counts[PLANS] += 1
    end, passed, looked, barred = queue.before.shape[0] - 1, 0, 0, False
    following = queue.after[end]
    while (
        following != end
        and looked < machine.look_max
        and budget
        and counts[ROWS] + counts[PROMPTS] < machine.rows_max
    ):
        request, following, looked = following, queue.after[following], looked + 1
        adapter = window.adapter[request]
        if barred or state.barred[adapter] == counts[PLANS]:
            continue
        spent_ms, said = acquire(cache, rules, adapter, now)
        if said not in (HIT, BROUGHT):
            state.barred[adapter] = counts[PLANS]
            if said == FULL:
                state.passed[passed] = request
                passed += 1
                barred = state.bypassed[request] >= machine.bypass_max
            continue
        remove(queue, request)
        records.admitted[request], records.hit[request] = now, said == HIT
        copies_ms += spent_ms
        barred = _let_pass(state, machine, passed)
        place = counts[PROMPTS]
        state.prompts[0, place], state.prompts[1, place] = request, window.input[request]
        counts[PROMPTS] += 1
        taken = _feed(state, place, budget)
        budget, tokens, chunks = budget - taken, tokens + taken, chunks + (taken > 0)
    return chunks, tokens, copies_ms


@part
def _begin_rows(state, rules, cache, window, records, now):  # type: ignore[no-untyped-def]
    """Give prompts that are through their first token and a decode row."""
    counts, kept = state.counts, 0
    for place in range(counts[PROMPTS]):
        request, left = state.prompts[0, place], state.prompts[1, place]
        if left:
            state.prompts[0, kept], state.prompts[1, kept] = request, left
            kept += 1
            continue
        records.first[request] = now
        adapter = window.adapter[request]
        if window.output[request] == 1:
            records.last[request] = now
            release(cache, rules, adapter)
            continue
        row = counts[ROWS]
        state.rows[0, row], state.rows[1, row] = counts[STEPS] + window.output[request] - 1, request
        counts[ROWS] += 1
        counts[CONTEXT] += window.input[request] + 1
        counts[DISTINCT] += state.shared[adapter] == 0
        state.shared[adapter] += 1
    counts[PROMPTS] = kept
    counts[REGROUPED] = 1


@part
def _advance(state, rules, cache, window, records, steps, now):  # type: ignore[no-untyped-def]
    """Let so many steps have happened: contexts grow, ended rows leave."""
    counts = state.counts
    counts[STEPS] += steps
    counts[CONTEXT] += steps * counts[ROWS]
    row = 0
    while row < counts[ROWS]:
        if state.rows[0, row] > counts[STEPS]:
            row += 1
            continue
        request = state.rows[1, row]
        counts[ROWS] -= 1
        state.rows[0, row], state.rows[1, row] = state.rows[0, counts[ROWS]], state.rows[1, counts[ROWS]]
        counts[REGROUPED] = 1
        records.last[request] = now
        counts[CONTEXT] -= window.input[request] + window.output[request]
        adapter = window.adapter[request]
        release(cache, rules, adapter)
        state.shared[adapter] -= 1
        counts[DISTINCT] -= state.shared[adapter] == 0


@part
def _steps_to(first_ms, growth_ms, ahead_ms):  # type: ignore[no-untyped-def]
    """Return the steps, each longer than the last by `growth_ms`, whose end is the first at or after a moment."""
    linear = first_ms - growth_ms / 2
    if growth_ms > 0:
        root = (np.sqrt(linear * linear + 2 * growth_ms * ahead_ms) - linear) / growth_ms
    else:
        root = ahead_ms / linear
    return max(1, int(np.ceil(root)))


@part
def _decode(state, machine, rules, cache, window, now):  # type: ignore[no-untyped-def]
    """Return how many decode steps follow in which nothing changes, and the seconds that they take."""
    rows = state.counts[ROWS]
    ends = state.rows[0, 0]
    for row in range(1, rows):
        ends = min(ends, state.rows[0, row])
    steps = ends - state.counts[STEPS]
    regroup_ms = machine.regroup_ms if state.counts[REGROUPED] else 0.0
    first_ms = _step_ms(state, machine, 0, 0)
    growth_ms = machine.line[3] * rows * machine.factors[rows]
    if rows < machine.rows_max:
        change = next_ready(cache, rules, now) if state.queue.size[0] else np.inf
        if state.counts[NEXT] < window.arrival.shape[0]:
            change = min(change, window.arrival[state.counts[NEXT]])
        if not np.isinf(change):
            ahead_ms = max(1e3 * (change - now) - regroup_ms, 0.0)
            steps = min(steps, _steps_to(first_ms, growth_ms, ahead_ms))
    growing_ms = growth_ms * steps * (steps - 1) / 2
    return steps, 1e-3 * (regroup_ms + steps * first_ms + growing_ms)


# Without counting references to arrays, which would take twenty times longer than the work: nothing is allocated here.
@njit(cache=True, nogil=True, _nrt=False)  # type: ignore[call-overload, untyped-decorator]
def serve_window(machine: Machine, rules: CacheRules, cache: Cache, window: Window, state: State,
                 records: Records) -> None:  # fmt: skip
    """Serve a window of requests on one replica, filling `records`; `state` and `cache` are as new."""
    now = 0.0
    _listen(state, machine, window, records, now, True)
    while True:
        chunks, tokens, copies_ms = _plan(state, machine, rules, cache, window, records, now)
        resting = False
        if state.counts[PROMPTS]:
            now = now + 1e-3 * (copies_ms + _step_ms(state, machine, chunks, tokens))
            _advance(state, rules, cache, window, records, 1, now)
            _begin_rows(state, rules, cache, window, records, now)
        elif state.counts[ROWS]:
            steps, taken_s = _decode(state, machine, rules, cache, window, now)
            state.counts[REGROUPED] = 0
            now = now + taken_s
            _advance(state, rules, cache, window, records, steps, now)
        else:
            resting = True
            ready = next_ready(cache, rules, now) if state.queue.size[0] else np.inf
            woken = _next_arrival(state, window)
            if np.isinf(ready) and np.isinf(woken):
                return
            # As the reference does: rounding may end the sleep a hair before the read does.
            now = min(woken, now + (max(ready - now, 0.0) + 1e-12))
        _listen(state, machine, window, records, now, resting)
