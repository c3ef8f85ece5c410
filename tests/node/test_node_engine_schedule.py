"""Who runs when: budget, fairness, blocks that run out, adapters that are late, clients that leave."""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")

from reference_node import scheduler
from reference_node.pool import AdapterLoadingError
from reference_node.request import GREEDY, Sampling
from tests.node.engine_world import ask, assert_empty, medley, prompt, small_engine, tokens_of

pytestmark = pytest.mark.node


def spy(engine):
    """Return a list that receives (decode rows, chunks with tokens) of each step, by request id."""
    steps, run = [], engine.runner.run

    def recording(decode, chunks):
        names = [entry.completion.request.id for entry in decode]
        steps.append((names, [(entry.completion.request.id, count) for entry, count in chunks]))
        return run(decode, chunks)

    engine.runner.run = recording
    return steps


def test_decode_rows_come_first_and_prompts_are_cut_to_the_budget():
    engine, _ = small_engine(batch_max=4, step_tokens=16)
    first = engine.submit(ask("first", prompt(1, 3), 30))
    engine.step()
    second = engine.submit(ask("second", prompt(2, 40), 5))
    steps = spy(engine)
    while not engine.idle:
        engine.step()
    assert steps[:4] == [
        (["first"], [("second", 15)]),
        (["first"], [("second", 15)]),
        (["first"], [("second", 10)]),
        (["first", "second"], []),
    ]
    alone, _ = small_engine(batch_max=1)
    done = alone.run([first.request, second.request])
    assert tokens_of(done) == {"first": first.tokens, "second": second.tokens}


@pytest.mark.parametrize(
    "limits", [{"kv_blocks": 32}, {"kv_blocks": 90, "block_size": 1, "prefix_cache": False}]
)
def test_requests_set_back_and_computed_again_say_the_same(limits):
    engine, hashes = small_engine(**({"block_size": 2, "batch_max": 6} | limits))
    requests = [
        ask(f"r{i}", prompt(i, 9), 30, hashes[i], sampling=Sampling(0.9, 0.95, seed=i) if i % 2 else GREEDY)
        for i in range(6)
    ]
    done = engine.run(requests)
    alone, _ = small_engine(batch_max=1)
    assert tokens_of(done) == tokens_of(alone.run(requests))
    assert engine.stats().preemptions == sum(c.preemptions for c in done.values()) > 3
    assert done["r0"].preemptions == 0  # the oldest is never set back
    assert_empty(engine)


def test_an_adapter_deleted_while_its_request_is_set_back_still_serves_it():
    engine, hashes = small_engine(slots=2, batch_max=2, block_size=2, kv_blocks=20)
    requests = [ask(f"r{i}", prompt(i, 9), 30, hashes[i]) for i in range(2)]
    done = {request.id: engine.submit(request) for request in requests}
    while not done["r1"].preemptions:
        engine.step()
    assert [completion.request.id for completion in engine.waiting] == ["r1"]
    engine.pool.forget(hashes[1])
    while not engine.idle:
        engine.step()
    alone, _ = small_engine(batch_max=1)
    assert tokens_of(done) == tokens_of(alone.run(requests))
    assert_empty(engine)


@pytest.mark.parametrize("steps", [0, 1, 2, 6])
def test_cancel_gives_blocks_and_adapters_back_before_it_returns(steps):
    engine, hashes = small_engine(batch_max=1, step_tokens=16)
    other, gone = engine.submit(ask("other", prompt(1, 4), 2)), None
    while not engine.idle:
        engine.step()
    gone = engine.submit(ask("gone", prompt(2, 30), 20, hashes[0]))
    queued = engine.submit(ask("queued", prompt(3, 30), 20, hashes[1]))
    for _ in range(steps):
        engine.step()
    assert engine.cancel("queued") is queued
    assert engine.cancel("gone") is gone
    assert_empty(engine)
    assert (gone.finish, queued.finish, other.finish) == ("cancelled", "cancelled", "length")
    assert len(gone.tokens) == max(0, steps - 1)
    assert engine.cancel("gone") is None
    assert engine.step() == []
    assert len(engine.run([ask("gone", prompt(2, 30), 3, hashes[0])])["gone"].tokens) == 3


def test_a_tenant_with_many_requests_does_not_hold_up_another():
    engine, _ = small_engine(batch_max=1)
    for i in range(10):
        engine.submit(ask(f"a{i}", prompt(i, 10), 4, tenant="a"))
    engine.step()
    for i in range(3):
        engine.submit(ask(f"b{i}", prompt(50 + i, 10), 4, tenant="b"))
    order = []
    while not engine.idle:
        order += [completion.request.id for completion in engine.step() if completion.finish]
    assert order[:7] == ["a0", "b0", "a1", "b1", "a2", "b2", "a3"]
    assert order[7:] == [f"a{i}" for i in range(4, 10)]


def test_a_tenant_that_was_away_claims_no_share_of_that_time():
    engine, _ = small_engine(batch_max=1)
    for i in range(12):
        engine.submit(ask(f"a{i}", prompt(i, 10), 4, tenant="a"))
    order = []
    while len(order) < 6:
        order += [completion.request.id for completion in engine.step() if completion.finish]
    for i in range(4):
        engine.submit(ask(f"b{i}", prompt(50 + i, 10), 4, tenant="b"))
    while not engine.idle:
        order += [completion.request.id for completion in engine.step() if completion.finish]
    assert [name[0] for name in order[6:14]] in (list("abababab"), list("babababa"))


def test_first_come_first_served_within_a_tenant():
    engine, hashes = small_engine(batch_max=2)
    requests = medley(hashes)
    for request in requests:
        engine.submit(ask(request.id, request.prompt, 3))
    order = []
    while not engine.idle:
        order += [completion.request.id for completion in engine.step() if completion.finish]
    assert order == [request.id for request in requests]


def test_a_request_without_a_slot_is_passed_by_others_but_not_for_ever(monkeypatch):
    monkeypatch.setattr(scheduler, "BYPASS_MAX", 3)
    engine, (hot, cold, *_) = small_engine(slots=1, batch_max=2)
    for i in range(3):
        engine.submit(ask(f"hot{i}", prompt(i, 4), 3 + 4 * i, hot))
    engine.step()
    engine.submit(ask("cold", prompt(20, 4), 3, cold))
    for i in range(3, 12):
        engine.submit(ask(f"hot{i}", prompt(i, 4), 5, hot))
    engine.submit(ask("base", prompt(30, 4), 3))
    order = []
    while not engine.idle:
        order += [completion.request.id for completion in engine.step() if completion.finish]
    assert order.index("base") < order.index("cold")  # the base needs no slot
    assert {name for name in order[: order.index("cold")] if name != "base"} == {f"hot{i}" for i in range(6)}
    assert sorted(order) == sorted([f"hot{i}" for i in range(12)] + ["cold", "base"])
    assert_empty(engine)


def test_an_adapter_that_is_still_loading_holds_up_nobody_else(monkeypatch):
    engine, (late, other, *_) = small_engine(batch_max=2)
    acquire, loading = engine.pool.acquire, [True]

    def slow(sha256):
        if sha256 == late and loading:
            raise AdapterLoadingError("being read")
        return acquire(sha256)

    monkeypatch.setattr(engine.pool, "acquire", slow)
    engine.submit(ask("late", prompt(0, 4), 3, other, late))
    for i in range(5):
        engine.submit(ask(f"r{i}", prompt(i, 4), 3, other))
    done = []
    for _ in range(20):
        done += [completion.request.id for completion in engine.step() if completion.finish]
    assert done == [f"r{i}" for i in range(5)]
    assert engine.pool.in_flight(other) == 0  # what the waiting request could have is not held meanwhile
    loading.clear()
    assert [c.request.id for _ in range(3) for c in engine.step() if c.finish] == ["late"]
    assert_empty(engine)


def test_no_step_holds_more_distinct_adapters_than_allowed_and_everybody_goes_on():
    engine, hashes = small_engine(batch_max=6, distinct_adapters_max=2)
    completions = [engine.submit(ask(f"r{i}", prompt(i, 4), 12, hashes[i])) for i in range(6)]
    shares = []
    while not engine.idle:
        engine.step()
        assert engine.stats().distinct_adapters <= 2
        shares.append([len(completion.tokens) for completion in completions])
    assert all(max(row) - min(row) <= 2 for row in shares)  # they take turns
    alone, _ = small_engine(batch_max=1)
    expected = alone.run([completion.request for completion in completions])
    assert {c.request.id: c.tokens for c in completions} == tokens_of(expected)


def test_out_of_memory_at_prefill_halves_the_chunk_and_then_fails_that_request_alone():
    for limit, outcome in ((20, "length"), (8, "error")):
        engine, _ = small_engine(batch_max=3)
        forward, sizes = engine.model.forward, []

        def tight(tokens, *rest, limit=limit, forward=forward, sizes=sizes):
            sizes.append(len(tokens))
            if len(tokens) > limit:
                raise torch.OutOfMemoryError("tried to allocate too much")
            return forward(tokens, *rest)

        small = engine.submit(ask("small", prompt(1, 4), 12))
        engine.step()
        engine.model.forward = tight
        large = engine.submit(ask("large", prompt(2, 36), 4))
        while not engine.idle:
            engine.step()
        assert sizes[:2] == [37, 19]
        assert (small.finish, large.finish) == ("length", outcome)
        assert ("out of memory at prefill" in large.error) == (outcome == "error")
        plain, _ = small_engine(batch_max=1)
        expected = plain.run([small.request, large.request])
        assert small.tokens == expected["small"].tokens
        assert large.tokens == (expected["large"].tokens if outcome == "length" else [])
        assert_empty(engine)


def test_out_of_memory_without_a_prompt_is_not_hidden():
    engine, _ = small_engine()
    engine.submit(ask("r", (1, 2), 5))
    engine.step()

    def full(*_):
        raise torch.OutOfMemoryError("tried to allocate too much")

    engine.model.forward = full
    with pytest.raises(torch.OutOfMemoryError):
        engine.step()


@cache
def said_alone(seed: int, length: int, new: int, adapters: tuple[int, ...], sampled: bool) -> list[int]:
    engine, hashes = small_engine(batch_max=1)
    return engine.run([_request("x", seed, length, new, adapters, sampled, hashes)])["x"].tokens


def _request(name, seed, length, new, adapters, sampled, hashes, tenant=""):
    sampling = Sampling(0.9, 0.9, seed=seed) if sampled else GREEDY
    return ask(
        name, prompt(seed, length), new, *(hashes[i] for i in adapters), sampling=sampling, tenant=tenant
    )


ARRIVAL = st.tuples(
    st.integers(0, 5),  # seed of the prompt, so that some are equal
    st.sampled_from([1, 4, 8, 9, 21]),
    st.sampled_from([1, 2, 7, 16]),
    st.sampled_from([(), (0,), (1,), (2,), (0, 1)]),
    st.booleans(),
)
EVENT = st.one_of(ARRIVAL, st.tuples(st.just("cancel"), st.integers(0, 20)), st.just("step"), st.just("step"))


@settings(max_examples=25)
@given(
    events=st.lists(EVENT, min_size=5, max_size=40),
    kv_blocks=st.sampled_from([10, 14, 40]),
    step_tokens=st.sampled_from([3, 16, 64]),
    slots=st.sampled_from([2, 3]),
)
def test_any_arrivals_cancels_and_set_backs_leave_nothing_behind_and_change_no_token(
    events, kv_blocks, step_tokens, slots
):
    engine, hashes = small_engine(
        slots=slots, batch_max=3, block_size=4, kv_blocks=kv_blocks, step_tokens=step_tokens
    )
    served = {}
    for event in [*events, *["step"] * 2000]:
        if event == "step":
            engine.step()
        elif event[0] == "cancel":
            engine.cancel(f"r{event[1]}")
        else:
            name = f"r{len(served)}"
            request = _request(name, *event, hashes, tenant=str(len(served) % 2))
            served[name] = engine.submit(request), event
        if (
            engine.idle
            and event == "step"
            and len(served) == sum(type(e) is tuple and len(e) == 5 for e in events)
        ):
            break
    assert_empty(engine)
    for completion, event in served.values():
        expected = said_alone(*event)
        assert completion.tokens == expected[: len(completion.tokens)]
        assert completion.finish == ("length" if len(completion.tokens) == len(expected) else "cancelled")
