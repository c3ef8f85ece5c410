"""A node under four times its load while adapters come and go: nothing wrong, nothing lost, nothing leaked.

`SOAK_SECONDS` sets how long the long version runs (600). Every loop is bounded by that time, every request goes to
this machine's own node.
"""

from __future__ import annotations

import gc
import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("fastapi", reason="needs the node extra (fastapi)")

from reference_node.adapters import Adapter
from reference_node.billing.reading import LogReader
from reference_node.serve.limits import Limits
from tests.node.api_world import Live, Reference, adapter, live, make_base, small, upload_parts, wait_until

ROWS = 4
ASKERS, LEAVERS = 4 * ROWS, 2
TOKENS = 16
PROMPTS = ("The river Aar", "A court in Bern", "What helps against a cold?", "Once upon a time", "x")
STEADY = {f"steady{i}": adapter(200 + i, rank=2 + 2 * (i % 4)) for i in range(8)}  # twice as many as slots
CHURN = tuple(adapter(300 + i) for i in range(6))
CHURN_ALIASES = ("churn0", "churn1")
GROWTH_BYTES = 48 << 20
KV_BLOCKS, BLOCK_BYTES = 14, 16 * 2 * 2 * 2 * 12 * 4  # one long answer fills it, so others are set back
BAD: tuple[tuple[str, str, dict[str, Any], int], ...] = (
    ("POST", "/v1/completions", {"json": {"model": "nobody", "prompt": "x"}}, 404),
    ("POST", "/v1/completions", {"json": {"model": "base"}}, 400),
    ("POST", "/v1/completions", {"json": {"model": "base", "prompt": "x", "n": 3}}, 400),
    ("POST", "/v1/completions", {"content": b"{", "headers": {"content-type": "application/json"}}, 400),
    ("POST", "/v1/chat/completions", {"json": {"model": "base", "messages": []}}, 400),
    ("POST", "/v1/completions", {"content": b"x" * (2 << 20)}, 413),
    ("POST", "/v1/adapters", {"data": {"alias": "bad"}, "files": {"weights": b"x", "config": b"{}"}}, 400),
    ("GET", "/v1/models", {"headers": {"authorization": "Bearer olk_wrong"}}, 401),
    ("DELETE", "/v1/adapters/nobody", {}, 404),
    ("GET", "/v1/nothing", {}, 404),
)


@dataclass
class Ledger:
    """What the clients saw."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def saw(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    def admitted(self, response: httpx2.Response) -> None:
        with self.lock:
            self.ids.add(response.headers["x-request-id"])

    def fault(self, message: str) -> None:
        with self.lock:
            self.faults.append(message)


@dataclass
class Load:
    """The clients of one run."""

    node: Live
    expected: dict[tuple[str, str], list[int]]
    until: float
    ledger: Ledger = field(default_factory=Ledger)

    def going(self) -> bool:
        return time.monotonic() < self.until and not self.ledger.faults

    def ask(self, seed: int) -> None:
        """Ask for completions and compare each with what the adapter that is named says alone."""
        draw = random.Random(seed)
        with self.client() as http:
            while self.going():
                model = draw.choice(["base", *STEADY, *CHURN_ALIASES])
                body, prompt, count = self.body(model, draw)
                if draw.random() < 0.5:
                    text, answer = streamed(http, {**body, "stream": True})
                else:
                    answer = http.post("/v1/completions", json=body)
                    text = answer.json()["choices"][0]["text"] if answer.status_code == 200 else ""
                if self.refused(answer, model):
                    time.sleep(draw.uniform(0.005, 0.02))
                    continue
                self.ledger.admitted(answer)
                self.ledger.saw("answered")
                served = answer.headers["x-olsim-adapter"]
                said = self.node.node.codec.decode(self.expected[served, prompt][:count])
                if text != said:
                    self.ledger.fault(f"{model} by {served[:12]} said {text!r}, alone {said!r}")
                if model in STEADY and served != STEADY[model].sha256:
                    self.ledger.fault(f"{model} was served by {served[:12]}")

    def leave(self, seed: int) -> None:
        """Begin answers and leave them, by closing streams and by giving up waiting."""
        draw = random.Random(seed)
        with self.client() as http:
            while self.going():
                body, _, _ = self.body(draw.choice(["base", *STEADY]), draw)
                body |= {"max_tokens": 200, "ignore_eos": True}
                try:
                    if draw.random() < 0.3:
                        http.post("/v1/completions", json=body, timeout=draw.uniform(0.01, 0.2))
                        continue
                    with http.stream("POST", "/v1/completions", json={**body, "stream": True}) as answer:
                        if answer.status_code == 200:
                            self.ledger.admitted(answer)
                            self.ledger.saw("left")
                            lines, chunks = answer.iter_lines(), draw.choice([1, 50, 300])
                            for _ in islice(lines, chunks):
                                pass
                        elif not self.refused(answer, "base"):
                            self.ledger.fault(f"a stream began with {answer.status_code}")
                except httpx2.TimeoutException:
                    self.ledger.saw("gave up")

    def churn(self, seed: int) -> None:
        """Upload, roll back and delete versions under two aliases."""
        draw, uploads = random.Random(seed), cycle(CHURN)
        with self.client() as http:
            while self.going():
                alias, chance = draw.choice(CHURN_ALIASES), draw.random()
                if chance < 0.6:
                    files = upload_parts(next(uploads))
                    answer = http.post("/v1/adapters", data={"alias": alias}, files=files)
                    allowed = {201}
                elif chance < 0.8:
                    body = {"sha256": draw.choice(CHURN).sha256[:16]}
                    answer = http.post(f"/v1/adapters/{alias}/rollback", json=body)
                    allowed = {200, 404}
                else:
                    which = draw.choice(["", f"?sha256={draw.choice(CHURN).sha256[:16]}"])
                    answer = http.delete(f"/v1/adapters/{alias}{which}")
                    allowed = {200, 404}
                self.ledger.saw(f"{answer.request.method} {answer.status_code}")
                if answer.status_code not in allowed:
                    self.ledger.fault(f"{answer.request.method} {answer.request.url}: {answer.text}")
                time.sleep(draw.uniform(0.02, 0.2))

    def annoy(self, seed: int) -> None:
        """Send what must be refused, and look at health and metrics."""
        draw = random.Random(seed)
        with self.client() as http:
            while self.going():
                method, path, content, status = draw.choice(BAD)
                answer = http.request(method, path, **content)
                self.ledger.saw("bad requests")
                if answer.status_code != status or set(answer.json()["error"]) != {
                    "message",
                    "type",
                    "param",
                    "code",
                }:
                    self.ledger.fault(
                        f"{method} {path}: {answer.status_code}, expected {status}: {answer.text[:200]}"
                    )
                if http.get("/health").status_code != 200 or http.get("/metrics").status_code != 200:
                    self.ledger.fault("the node is not healthy")
                time.sleep(draw.uniform(0.02, 0.1))

    def body(self, model: str, draw: random.Random) -> tuple[dict[str, Any], str, int]:
        prompt, count = draw.choice(PROMPTS), draw.randint(1, TOKENS)
        return {"model": model, "prompt": prompt, "max_tokens": count, "temperature": 0}, prompt, count

    def client(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.node.url, headers=self.node.http.headers, timeout=60)

    def refused(self, answer: httpx2.Response, model: str) -> bool:
        """Return whether an answer is a refusal; one that is not allowed is a fault."""
        if answer.status_code == 200:
            return False
        self.ledger.saw(str(answer.status_code))
        if answer.status_code in (429, 503):
            if not answer.headers.get("retry-after", "").isdigit():
                self.ledger.fault(f"{answer.status_code} without Retry-After")
        elif not (answer.status_code == 404 and model in CHURN_ALIASES):
            self.ledger.fault(f"{model}: {answer.status_code}")
        return True


def streamed(http: httpx2.Client, body: dict[str, Any]) -> tuple[str, httpx2.Response]:
    """Return the text of a stream that was read to its end."""
    with http.stream("POST", "/v1/completions", json=body) as answer:
        if answer.status_code != 200:
            answer.read()
            return "", answer
        lines = [line for line in answer.iter_lines() if line]
    assert lines[-1] == "data: [DONE]", lines[-1]
    return "".join(json.loads(line[6:])["choices"][0]["text"] for line in lines[:-1]), answer


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def expected(base: Path) -> dict[tuple[str, str], list[int]]:
    """Return what the base and every adapter say to every prompt, alone, without the end-of-text token."""
    reference, found = Reference(base), {}
    made: list[Adapter | None] = [None, *STEADY.values(), *CHURN]
    for one in made:
        for prompt in PROMPTS:
            tokens = reference.tokens(reference.codec.prompt(prompt), one, TOKENS)
            name = one.sha256 if one else "base"
            found[name, prompt] = [token for token in tokens if token not in reference.codec.eos_ids]
    return found


@pytest.mark.node
def test_soak_briefly(base: Path, expected: dict[tuple[str, str], list[int]], tmp_path: Path) -> None:
    soak(base, expected, tmp_path, 20.0)


@pytest.mark.soak
def test_soak(base: Path, expected: dict[tuple[str, str], list[int]], tmp_path: Path) -> None:
    soak(base, expected, tmp_path, float(os.environ.get("SOAK_SECONDS", "600")))


def soak(base: Path, expected: dict[tuple[str, str], list[int]], data: Path, seconds: float) -> None:
    limits = Limits(queue=ROWS, streams=3 * ROWS, queue_wait_s=0.5, wall_s=20)
    options = small(base, data, batch_max=ROWS, slots=4, limits=limits, kv_bytes=KV_BLOCKS * BLOCK_BYTES)
    with live(options) as node:
        for alias, made in STEADY.items():
            node.upload(alias, made)
        load = Load(node, expected, time.monotonic() + seconds)
        resident = list(run(load, seconds))
        report(load, resident, seconds)
        assert load.ledger.faults == []
        check_nothing_is_held(node)
        check_the_books(node, load.ledger)
        grown = max(resident[-3:]) - max(resident[len(resident) // 3 :][:3])
        assert grown < GROWTH_BYTES, f"resident memory grew by {grown >> 20} MiB"
        assert load.ledger.counts["answered"] > seconds
        assert load.ledger.counts["429"] > 0
        assert load.ledger.counts["left"] > 0


def run(load: Load, seconds: float) -> Iterator[int]:
    """Run all clients to the end and yield the resident memory now and then."""
    work: list[tuple[Callable[[int], None], int]] = [
        *[(load.ask, seed) for seed in range(ASKERS)],
        *[(load.leave, 100 + seed) for seed in range(LEAVERS)],
        (load.churn, 200),
        (load.annoy, 300),
    ]
    threads = [threading.Thread(target=guarded, args=(load, *one), daemon=True) for one in work]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert time.monotonic() < load.until + 60, "a client did not come to its end"
        time.sleep(max(0.1, seconds / 60))
        yield resident_bytes()


def guarded(load: Load, work: Callable[[int], None], seed: int) -> None:
    try:
        work(seed)
    except Exception as error:
        load.ledger.fault(f"{work.__name__}: {error!r}")


def resident_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def report(load: Load, resident: list[int], seconds: float) -> None:
    node, counts = load.node, dict(sorted(load.ledger.counts.items()))
    figures = node.metrics()
    shown = {
        "seconds": seconds,
        **counts,
        "log": node.node.log.size,
        "tokens": int(figures["olsim_completion_tokens_total"]),
        "preemptions": int(figures["olsim_preemptions_total"]),
        "evictions": int(figures.get("olsim_adapter_evictions_total", 0)),
        "resident MiB": [value >> 20 for value in resident[:: max(1, len(resident) // 6)]],
    }
    print(json.dumps(shown))


def check_nothing_is_held(node: Live) -> None:
    """After the last answer every block, slot, hold and place in the house is free."""
    backend = node.node.backend
    engine, service = backend._engine, backend.service  # type: ignore[attr-defined]
    wait_until(lambda: node.node.open_requests == 0 and service.in_flight == 0 and not node.node._tasks)
    assert engine.idle
    assert engine.stats().kv_blocks_used == 0
    assert not +engine.pool._in_flight
    assert not +node.node._holds
    assert not node.node._doomed
    assert not +node.node.registry._shelf._holds
    assert service._streams == {}
    listed = {
        v.sha256 for alias in node.node.registry.listing() for v in node.node.registry.versions(alias.alias)
    }
    assert {path.name for path in (node.options.registry_folder / "blobs").iterdir()} == listed
    known = {made.sha256 for made in (*STEADY.values(), *CHURN) if engine.pool.knows(made.sha256)}
    assert known <= listed


def check_the_books(node: Live, ledger: Ledger) -> None:
    """Every admitted request is in the log once; log, usage, metrics and bills have the same sums."""
    node.node.log.sync()
    read = list(LogReader(node.node.log.folder).bills())  # checks chain, frames, fees
    ids = [found.entry.record.request_id.hex() for found in read]
    assert len(ids) == len(set(ids)) == node.node.log.size
    assert ledger.ids <= set(ids)
    figures, used = node.metrics(), node.http.get("/v1/usage?scope=all").json()
    records = [found.entry.record for found in read]
    assert figures["olsim_requests_total"] == used["requests"] == len(records)
    sums = {"prompt_tokens": "tokens_in", "completion_tokens": "tokens_out", "fees_gwei": "fee_gwei"}
    for metric, name in sums.items():
        logged = sum(getattr(record, name) for record in records)
        assert figures[f"olsim_{metric}_total"] == used[name] == logged
