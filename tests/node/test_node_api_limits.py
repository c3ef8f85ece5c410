"""A full house, a long wait, a dead engine, a full disk, a restart: what clients hear and what is kept."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("fastapi", reason="needs the node extra (fastapi)")

from reference_node.billing.log import SyncPolicy
from reference_node.serve.limits import Limits
from reference_node.serve.node import Node
from tests.node.api_world import Live, adapter, live, make_base, small, wait_until

pytestmark = pytest.mark.node
LONG = {"max_tokens": 200, "ignore_eos": True}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


class Brake:
    """Makes every step of a node's engine wait for a permit, so that a test decides how fast it is."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.error: BaseException | None = None

    def fit(self, node: Node) -> None:
        engine = node.backend._engine  # type: ignore[attr-defined]
        step = engine.step

        def braked() -> Any:
            self.open.wait(0.02)
            if self.error is not None:
                raise self.error
            return step()

        engine.step = braked


def open_stream(node: Live, threads: ThreadPoolExecutor, **settings: Any) -> Any:
    """Start a stream in a thread and return its future: the response read to its end."""
    return threads.submit(lambda: node.complete("base", "x", stream=True, **{**LONG, **settings}))


def test_a_full_queue_answers_429_and_a_full_house_too(base: Path, tmp_path: Path) -> None:
    brake = Brake()
    limits = Limits(queue=2, streams=4, queue_wait_s=20)
    options = small(base, tmp_path, batch_max=1, limits=limits)
    with live(options, brake.fit) as node, ThreadPoolExecutor(8) as threads:
        running = [open_stream(node, threads)]
        wait_until(lambda: node.node.open_requests == 1)
        wait_until(lambda: len(node.node.backend._engine.running) == 1)
        running += [open_stream(node, threads) for _ in range(2)]
        wait_until(lambda: node.node.open_requests == 3)
        wait_until(lambda: len(node.node.backend._engine.waiting) == 2)
        full = node.complete("base", "x", **LONG)
        assert (full.status_code, full.json()["error"]["code"]) == (429, "queue_full")
        assert int(full.headers["retry-after"]) >= 1
        node.node.limits = Limits(queue=2, streams=3)
        crowded = node.complete("base", "x", **LONG)
        assert (crowded.status_code, crowded.json()["error"]["code"]) == (429, "requests_open")
        assert int(crowded.headers["retry-after"]) >= 1
        brake.open.set()
        assert [future.result().status_code for future in running] == [200] * 3
        wait_until(lambda: node.node.open_requests == 0)
        assert node.node.log.size == 3
        reasons = node.http.get("/metrics").text
        assert 'olsim_refusals_total{reason="queue_full"} 1.0' in reasons
        assert 'olsim_refusals_total{reason="requests_open"} 1.0' in reasons


@pytest.mark.parametrize("stream", [True, False])
def test_a_wait_that_lasts_too_long_answers_503(base: Path, tmp_path: Path, stream: bool) -> None:
    brake = Brake()
    options = small(base, tmp_path, batch_max=1, limits=Limits(queue_wait_s=0.2))
    with live(options, brake.fit) as node, ThreadPoolExecutor(2) as threads:
        running = open_stream(node, threads)
        wait_until(lambda: len(node.node.backend._engine.running) == 1)
        late = node.complete("base", "x", stream=stream, **LONG)
        assert (late.status_code, late.json()["error"]["code"]) == (503, "queue_wait")
        assert int(late.headers["retry-after"]) >= 1
        brake.open.set()
        assert running.result().status_code == 200
        wait_until(lambda: node.node.open_requests == 0)
        assert node.node.log.size == 1  # who was never served is not billed


def test_a_request_that_runs_too_long_ends_with_what_it_has(base: Path, tmp_path: Path) -> None:
    brake = Brake()
    with live(small(base, tmp_path, limits=Limits(wall_s=0.4)), brake.fit) as node:
        body = node.complete("base", "x", **LONG).json()
        assert body["choices"][0]["finish_reason"] == "length"
        assert 0 < body["usage"]["completion_tokens"] < 200
        assert node.node.log.size == 1


def test_a_dead_engine_ends_every_stream_with_an_error(base: Path, tmp_path: Path) -> None:
    brake = Brake()
    with live(small(base, tmp_path), brake.fit) as node, ThreadPoolExecutor(4) as threads:
        running = [open_stream(node, threads) for _ in range(2)]
        whole = threads.submit(lambda: node.complete("base", "x", **LONG))
        service = node.node.backend.service
        wait_until(lambda: service.in_flight == 3 and len(node.node.backend._engine.running) == 3)
        brake.open.set()
        brake.error = RuntimeError("the device is gone")
        for future in running:
            response = future.result()
            if response.status_code == 200:
                last = json.loads(response.text.split("\n\n")[-2][6:])
                assert "[DONE]" not in response.text
            else:  # it died before the first token
                last = response.json()
            assert "the device is gone" in last["error"]["message"]
        assert whole.result().status_code == 503
        assert node.http.get("/health").status_code == 503
        assert node.http.get("/health/ready").json()["status"] == "dead"
        after = node.complete("base", "x")
        assert (after.status_code, after.json()["error"]["code"]) == (503, "engine_dead")
        assert int(after.headers["retry-after"]) >= 1
        wait_until(lambda: node.node.log.size == 3)
        assert node.node.open_requests == 0


def test_a_log_that_cannot_be_written_stops_the_node(base: Path, tmp_path: Path) -> None:
    with live(small(base, tmp_path)) as node:

        def refuse(served: object) -> None:
            raise OSError(28, "No space left on device")

        append, node.node.log.append = node.node.log.append, refuse  # type: ignore[method-assign]
        answer = node.complete("base", "x")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "log_failed")
        node.node.log.append = append  # type: ignore[method-assign]
        assert node.complete("base", "x").status_code == 503
        assert node.http.get("/health").json()["detail"].startswith("the billing log cannot be written")


def never_due(node: Node) -> None:
    """Leave every record to the node's timer."""
    node.log._policy = SyncPolicy(every=10**6, after_ms=10**9)


def test_a_record_is_on_the_disk_soon_though_no_other_follows(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reference_node.serve.node.SYNC_S", 0.02)
    with live(small(base, tmp_path), never_due) as node:
        for size in (1, 2):
            assert node.complete("base", "x", max_tokens=2).status_code == 200
            wait_until(lambda: node.node.log._unsynced == 0)
            assert node.node.log.size == size

        def refuse() -> None:
            raise OSError(5, "Input/output error")

        sync, node.node.log.sync = node.node.log.sync, refuse  # type: ignore[method-assign]
        node.complete("base", "x", max_tokens=2)
        wait_until(lambda: node.http.get("/health").status_code == 503)
        assert "Input/output error" in node.complete("base", "x").json()["error"]["message"]
        node.node.log.sync = sync  # type: ignore[method-assign]


def test_a_node_that_leaves_puts_its_records_on_the_disk(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reference_node.serve.node.SYNC_S", 60.0)
    with live(small(base, tmp_path), never_due) as node:
        node.complete("base", "x", max_tokens=2)
        assert node.node.log._unsynced == 1
    assert node.node.log._unsynced == 0


def test_a_draining_node_finishes_what_is_open_and_takes_nothing_new(base: Path, tmp_path: Path) -> None:
    brake = Brake()
    with live(small(base, tmp_path), brake.fit) as node, ThreadPoolExecutor(1) as threads:
        running = open_stream(node, threads, max_tokens=40)
        wait_until(lambda: len(node.node.backend._engine.running) == 1)
        with httpx2.Client(base_url=node.url, headers=node.http.headers) as early:
            early.get("/health")
            node.server.handle_exit(2, None)
            refused = early.post("/v1/completions", json={"model": "base", "prompt": "x"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
        assert running.result().text.endswith("data: [DONE]\n\n")
    assert node.node.log.size == 1


def test_a_restart_keeps_adapters_log_bills_and_quota(base: Path, tmp_path: Path) -> None:
    with live(small(base, tmp_path)) as node:
        sha256 = node.upload("law", adapter(2))
        first = node.complete("law", "x", max_tokens=3, ignore_eos=True)
        fee = first.json()["bill"]["fee_gwei"]
    with live(small(base, tmp_path)) as node:
        assert node.node.log.size == 1
        assert next(node.node.bills.newest_of("house")).bill.fee_gwei == fee
        again = node.complete("law", "x", max_tokens=3, ignore_eos=True)
        assert again.headers["x-olsim-adapter"] == sha256
        assert again.json()["choices"] == first.json()["choices"]


def test_a_node_without_keys_serves_everybody_here(base: Path, tmp_path: Path) -> None:
    with live(small(base, tmp_path, auth=False)) as node:
        assert node.complete("base", "x").status_code == 200
        assert node.http.get("/metrics").status_code == 200
        assert node.http.get("/v1/usage").json()["tenant"] == "local"
