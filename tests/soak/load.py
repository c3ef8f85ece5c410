"""The clients of the soak: who asks, leaves, uploads and annoys, and what they note of the answers.

Rules: every answer is compared, token for token as text, with what the adapter that it names says alone; that adapter
must be one that the model name can mean; a refusal is a 429 or 503 with a time, or a 404 of an alias that comes and
goes.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

import httpx2

from tests.node.api_world import Live, adapter, upload_parts

TOKENS = 16
LEFT_TOKENS = 40  # as far as a stream that is left early is compared
PART = "\N{REPLACEMENT CHARACTER}"  # a character of which a cut answer holds some bytes
PROMPTS = ("The river Aar", "A court in Bern", "What helps against a cold?", "Once upon a time", "x")
STEADY = {f"steady{i}": adapter(200 + i, rank=2 + 2 * (i % 4)) for i in range(8)}  # twice as many as slots
CHURN = tuple(adapter(300 + i) for i in range(6))
CHURN_ALIASES = ("churn0", "churn1")
MEANS = {
    "base": {"base"},
    **{alias: {made.sha256} for alias, made in STEADY.items()},
    **{alias: {made.sha256 for made in CHURN} for alias in CHURN_ALIASES},
}
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
    served: dict[str, str] = field(default_factory=dict)  # request id: what the answer says served it
    used: dict[str, dict[str, Any]] = field(default_factory=dict)  # request id: usage block of the answer
    lock: threading.Lock = field(default_factory=threading.Lock)

    def saw(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    def admitted(self, response: httpx2.Response, usage: dict[str, Any] | None = None) -> str:
        """Note what an answer says of itself, and return what served it."""
        name, served = response.headers["x-request-id"], response.headers["x-olsim-adapter"]
        with self.lock:
            self.served[name] = served
            if usage is not None:
                self.used[name] = usage
        return str(served)

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
                text, usage, answer = asked(http, body, stream=draw.random() < 0.5)
                if self.refused(answer, model):
                    time.sleep(draw.uniform(0.005, 0.02))
                    continue
                served = self.ledger.admitted(answer, usage)
                self.ledger.saw("answered")
                self.check_adapter(model, served)
                said = self.alone(served, prompt, count)
                if text != said:
                    self.ledger.fault(f"{model} by {served[:12]} said {text!r}, alone {said!r}")

    def leave(self, seed: int) -> None:
        """Begin answers and leave them, by closing streams and by giving up waiting."""
        draw = random.Random(seed)
        with self.client() as http:
            while self.going():
                model = draw.choice(["base", *STEADY])
                body, prompt, _ = self.body(model, draw)
                body |= {"max_tokens": 200, "ignore_eos": True}
                try:
                    if draw.random() < 0.3:
                        limit = draw.uniform(0.01, 0.2)
                        self.refused(http.post("/v1/completions", json=body, timeout=limit), model)
                        continue
                    with http.stream("POST", "/v1/completions", json={**body, "stream": True}) as answer:
                        if self.refused(answer, model):
                            continue
                        served = self.ledger.admitted(answer)
                        self.ledger.saw("left")
                        self.check_adapter(model, served)
                        text = "".join(pieces(islice(answer.iter_lines(), draw.choice([1, 50, 300]))))
                        said = self.alone(served, prompt, LEFT_TOKENS, whole=False)
                        if not (text.startswith(said) or said.startswith(text)):
                            self.ledger.fault(f"{model} by {served[:12]} began {text!r}, alone {said!r}")
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

    def alone(self, served: str, prompt: str, count: int, *, whole: bool = True) -> str:
        """Return what an adapter says alone; `whole` ends it at the end-of-text token, as an answer ends."""
        tokens, codec = self.expected[served, prompt][:count], self.node.node.codec
        ends = [at for at, token in enumerate(tokens) if token in codec.eos_ids] if whole else []
        return codec.decode(tokens[: ends[0]] if ends else tokens).removesuffix("" if whole else PART)

    def check_adapter(self, model: str, served: str) -> None:
        """The adapter that an answer names must be one that its model name can mean."""
        if served not in MEANS[model]:
            self.ledger.fault(f"{model} was served by {served[:12]}")

    def client(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.node.url, headers=self.node.http.headers, timeout=60)

    def refused(self, answer: httpx2.Response, model: str) -> bool:
        """Return whether an answer is a refusal; one that is not allowed is a fault."""
        if answer.status_code == 200:
            return False
        self.ledger.saw(str(answer.status_code))
        if answer.status_code in (429, 503):
            if int(answer.headers.get("retry-after", "0")) < 1:
                self.ledger.fault(f"{answer.status_code} without Retry-After")
        elif not (answer.status_code == 404 and model in CHURN_ALIASES):
            self.ledger.fault(f"{model}: {answer.status_code}")
        return True


def asked(
    http: httpx2.Client, body: dict[str, Any], *, stream: bool
) -> tuple[str, dict[str, Any] | None, httpx2.Response]:
    """Return text, usage block and response of a request that is read to its end."""
    if not stream:
        answer = http.post("/v1/completions", json=body)
        if answer.status_code != 200:
            return "", None, answer
        return answer.json()["choices"][0]["text"], answer.json()["usage"], answer
    body = {**body, "stream": True, "stream_options": {"include_usage": True}}
    with http.stream("POST", "/v1/completions", json=body) as answer:
        if answer.status_code != 200:
            answer.read()
            return "", None, answer
        lines = [line for line in answer.iter_lines() if line]
    assert lines[-1] == "data: [DONE]", lines[-1]
    return "".join(pieces(lines)), json.loads(lines[-2][6:])["usage"], answer


def pieces(lines: Iterable[str]) -> Iterator[str]:
    """Yield the texts of a stream's events; an error event has none and raises."""
    for line in lines:
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                yield choice["text"]
