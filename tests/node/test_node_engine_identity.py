"""Which adapter served this token: the published failures of other servers, replayed, and numbers that are none.

Replays: vLLM 47724 (an in-flight request served with another adapter after one was loaded at run time), vLLM 42125 (a
reload under the same name meets the old version's prefix blocks), and two of transformers 5.23's continuous batching
(prefixes shared across a switch of adapters; the argument naming each row's adapter ignored).
"""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")

from models.errors import InputError
from reference_node.adapters import random_adapter
from reference_node.request import AdapterUse
from tests.node.engine_world import SMALL, ask, assert_empty, medley, prompt, small_engine, tokens_of

pytestmark = pytest.mark.node

LONG = prompt(77, 50)  # three full blocks and a rest
LAYOUTS = pytest.mark.parametrize("paged", [False, True], ids=["dense", "paged as on an accelerator"])


def alone(*requests):
    """Return what each request is told by an engine of its own."""
    return {
        request.id: small_engine(batch_max=1)[0].run([request])[request.id].tokens for request in requests
    }


def poison():
    bad = random_adapter(SMALL, 4, 99)
    return replace(bad, sha256="0" * 64, a={key: tensor * float("nan") for key, tensor in bad.a.items()})


@LAYOUTS
def test_loading_replacing_evicting_and_deleting_never_change_a_request_in_flight(paged):
    engine, hashes = small_engine(slots=3, batch_max=4, paged=paged)
    long = [ask("a", prompt(1, 9), 60, hashes[0]), ask("b", prompt(2, 20), 60, hashes[1])]
    short = [ask(f"s{i}", prompt(10 + i, 5), 3, hashes[2 + i % 4]) for i in range(16)]
    expected = alone(*long, *short)
    done = {request.id: engine.submit(request) for request in long}
    slots = {}
    for i, request in enumerate(short):
        engine.step()
        slots = slots or engine.pool.resident()
        engine.pool.add(random_adapter(SMALL, 8, 1000 + i, gain=20.0))  # hot load of another version
        done[request.id] = engine.submit(request)
        if i == 5:
            engine.pool.forget(hashes[0])
        for sha in hashes[:2]:
            assert engine.pool.resident()[sha] == slots[sha]
    with pytest.raises(InputError, match="unknown adapter"):
        engine.submit(ask("late", (1,), 1, hashes[0]))
    while not engine.idle:
        engine.step()
    assert tokens_of(done) == expected
    assert engine.pool.counters["eviction"] >= 6  # slots did change hands beside the long requests
    assert hashes[0] not in engine.pool.resident()
    assert_empty(engine)


@LAYOUTS
def test_a_slot_that_changes_hands_between_two_steps_changes_what_the_row_is_served_with(paged):
    engine, hashes = small_engine(slots=1, batch_max=1, paged=paged)
    requests = [ask(f"r{i}", (1,), 2, hashes[i]) for i in range(6)]  # same row, slot and shape each time
    assert tokens_of(engine.run(requests)) == alone(*requests)


@LAYOUTS
def test_an_adapter_that_comes_back_to_another_slot_is_read_there(paged):
    engine, (one, other, *_) = small_engine(slots=2, batch_max=1, paged=paged)
    request = ask("r", (1,), 6, one)  # every step of it has the same rows and shape
    first = engine.run([request])["r"].tokens
    slot = engine.pool.resident()[one]
    engine.pool.forget(one)
    assert engine.pool.acquire(other) == slot
    assert engine.pool.add(random_adapter(SMALL, 4, 0, gain=20.0)) == one
    assert engine.run([request])["r"].tokens == first == alone(request)["r"]
    assert engine.pool.resident()[one] != slot
    assert first != alone(ask("r", (1,), 6, other))["r"]


@LAYOUTS
def test_a_new_version_under_the_same_alias_never_meets_the_old_prefix(paged):
    engine, hashes = small_engine(block_size=4, paged=paged)
    versions = {"alias": hashes[0]}
    first = engine.run([ask("v1", LONG, 12, versions["alias"])])["v1"]
    versions["alias"] = engine.pool.add(random_adapter(SMALL, 4, 500, gain=20.0))
    engine.pool.forget(hashes[0])
    second = engine.run([ask("v2", LONG, 12, versions["alias"])])["v2"]
    again = engine.run([ask("v2", LONG, 12, versions["alias"])])["v2"]
    fresh, _ = small_engine()
    fresh.pool.add(random_adapter(SMALL, 4, 500, gain=20.0))
    assert second.tokens == fresh.run([ask("v2", LONG, 12, versions["alias"])])["v2"].tokens
    assert second.tokens == again.tokens != first.tokens
    assert (first.cached_tokens, second.cached_tokens, again.cached_tokens) == (0, 0, 48)


@LAYOUTS
def test_prefixes_are_not_shared_across_a_switch_of_adapters_or_weights_on_a_live_engine(paged):
    engine, hashes = small_engine(paged=paged)
    kinds = [(), (hashes[0],), (hashes[1],), (AdapterUse(hashes[0], 0.5),), (hashes[0], hashes[1])]
    requests = [ask(f"k{i}", LONG, 8, *uses) for i, uses in enumerate(kinds)]
    expected = alone(*requests)
    for round_ in range(2):
        for request in requests:
            found = engine.run([request])[request.id]
            assert found.tokens == expected[request.id]
            assert found.cached_tokens == 48 * round_
    assert len({tuple(tokens) for tokens in expected.values()}) == len(kinds)


@LAYOUTS
def test_every_row_gets_the_adapter_that_it_names_and_the_completion_says_so(paged):
    engine, hashes = small_engine(paged=paged)
    names = [(), (hashes[0],), (), (hashes[1],), (), (hashes[2],)]
    requests = [ask(f"r{i}", LONG[:10], 10, *uses) for i, uses in enumerate(names)]
    done = engine.run(requests)
    base = done["r0"].tokens
    assert [done[f"r{i}"].tokens == base for i in range(6)] == [not uses for uses in names]
    assert tokens_of(done) == alone(*requests)
    for request, uses in zip(requests, names, strict=True):
        assert tuple(use.sha256 for use in done[request.id].request.adapters) == uses


def test_a_cached_prefix_gives_the_same_tokens_and_is_counted():
    engine, hashes = small_engine(block_size=8)
    first = engine.run([ask("one", LONG, 20, hashes[0])])["one"]
    longer = (*LONG, *first.tokens[:10])
    found = engine.run([ask("same", LONG, 20, hashes[0]), ask("longer", longer, 10, hashes[0])])
    assert found["same"].tokens == first.tokens
    assert found["longer"].tokens == first.tokens[10:]
    assert found["same"].cached_tokens == 48
    assert found["longer"].cached_tokens == 56  # blocks of generated tokens are found too
    exact = engine.run([ask("exact", LONG[:48], 4, hashes[0])])["exact"]
    assert exact.cached_tokens == 40  # the last token's block is computed, because its logits are wanted
    assert engine.stats().prefix_hit_tokens == 48 + 56 + 40


def test_requests_that_run_together_share_full_blocks_without_copying():
    engine, _ = small_engine(block_size=8)
    engine.run([ask("warm", LONG, 1)])
    for i in range(4):
        engine.submit(ask(f"r{i}", LONG, 4))
    engine.step()
    rows = engine.scheduler.running
    assert len({tuple(entry.blocks[:6]) for entry in rows}) == 1
    assert [engine.scheduler.blocks.references(block) for block in rows[0].blocks] == [4] * 6 + [1]
    assert engine.stats().kv_blocks_used == 6 + 4
    engine.cancel("r0")
    assert engine.scheduler.blocks.references(rows[0].blocks[0]) == 3
    while not engine.idle:
        engine.step()
    assert_empty(engine)


def test_tenants_never_share_blocks():
    engine, _ = small_engine()
    cached = [
        engine.run([ask("r", LONG, 2, tenant=tenant)])["r"].cached_tokens
        for tenant in ("a", "b", "a", "", "b")
    ]
    assert cached == [0, 0, 48, 0, 48]


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"kv_blocks": 14, "block_size": 4},
        {"step_tokens": 8},
        {"kv_blocks": 14, "block_size": 4, "paged": True},
    ],
    ids=str,
)
def test_a_nan_adapter_ends_alone_and_changes_nobody_even_in_its_reused_blocks(limits):
    engine, hashes = small_engine(batch_max=4, **limits)
    neighbours = [ask(f"n{i}", prompt(i, 5), 20, *([hashes[i]] if i else [])) for i in range(3)]
    later = [ask(f"l{i}", prompt(20 + i, 30), 20, *([hashes[i]] if i else [])) for i in range(6)]
    expected = alone(*neighbours, *later)
    bad = engine.pool.add(poison())
    done = {request.id: engine.submit(request) for request in neighbours[:1]}
    engine.step()
    broken = [engine.submit(ask(f"bad{i}", LONG[:21], 4, bad)) for i in range(3)]
    done |= {request.id: engine.submit(request) for request in (*neighbours[1:], *later)}
    while not engine.idle:
        engine.step()
    assert tokens_of(done) == expected
    for completion in broken:
        assert (completion.finish, completion.tokens, completion.cached_tokens) == ("error", [], 0)
        assert "not finite" in completion.error
    assert_empty(engine)


def test_an_adapter_that_overflows_while_it_decodes_ends_with_what_it_had_said():
    engine, hashes = small_engine(batch_max=3)
    requests = [ask("n", prompt(1, 5), 24, hashes[1]), ask("later", prompt(2, 5), 24, hashes[2])]
    expected = alone(*requests, ask("bad", prompt(3, 5), 6, hashes[0]))
    done = [engine.submit(request) for request in (requests[0], ask("bad", prompt(3, 5), 24, hashes[0]))]
    while len(done[1].tokens) < 6:
        engine.step()
    run = engine.runner.run

    def overflow(decode, chunks):
        """Leave NaN where the request's next keys and values go, as an overflowing row does."""
        row = next(entry for entry in decode if entry.completion is done[1])
        engine.runner.dense.v[:, row.row * 2, row.computed - 1] = float("nan")
        engine.runner.run = run
        return run(decode, chunks)

    engine.runner.run = overflow
    engine.step()
    assert (done[1].finish, done[1].tokens) == ("error", expected["bad"])
    done.append(engine.submit(requests[1]))
    while not engine.idle:
        engine.step()
    assert done[0].tokens == expected["n"]
    assert done[2].tokens == expected["later"]
    assert_empty(engine)


def test_an_adapter_whose_folder_changed_fails_its_request_and_no_other(monkeypatch):
    engine, hashes = small_engine()
    acquire = engine.pool.acquire

    def changed(sha256):
        if sha256 == hashes[1]:
            raise InputError("content is now another")
        return acquire(sha256)

    monkeypatch.setattr(engine.pool, "acquire", changed)
    requests = [ask("gone", (1, 2), 3, hashes[0], hashes[1]), ask("fine", (1, 2), 3, hashes[0])]
    done = engine.run(requests)
    assert (done["gone"].finish, done["gone"].tokens, done["gone"].error) == (
        "error",
        [],
        "content is now another",
    )
    assert len(done["fine"].tokens) == 3
    assert_empty(engine)


def test_more_adapters_than_slots_serve_everyone_as_alone():
    engine, hashes = small_engine(slots=2, batch_max=4)
    requests = medley(hashes)
    assert tokens_of(engine.run(requests)) == alone(*requests)
    assert engine.pool.counters["eviction"] > 0
