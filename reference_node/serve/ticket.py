"""One admitted request: what it asked for, what served it, and what was served so far.

Rules: the adapters are resolved once, at admission, and the ticket carries their full hashes to response, log and bill.
Tokens count as served up to the one that ends the answer; what a backend generated beyond it is neither billed nor
logged. The prompt is billed with the first token: who got nothing pays for nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from reference_node.access import ApiKey
from reference_node.access.quotas import Reservation
from reference_node.billing import ServedAdapter, ServedRequest
from reference_node.serve.backend import End, Job, Piece
from reference_node.serve.stops import StopMatcher

FINISH: dict[End, str] = {"wall_time": "length", "queue_wait": "cancelled"}


@dataclass(slots=True)
class Ticket:
    """An admitted request.

    Parameters
    ----------
    job
        What the backend is asked for.
    key, reservation
        Whose request it is and what its quota set aside.
    model
        The name the client asked for, as it appears in the answer.
    adapters
        What serves it, resolved.
    stops
        Stop strings.
    base_sha256
        Base model that serves it.
    clock
        Seconds, monotonic.
    """

    job: Job
    key: ApiKey
    reservation: Reservation
    model: str
    adapters: tuple[ServedAdapter, ...]
    stops: StopMatcher
    base_sha256: str
    clock: Callable[[], float] = time.perf_counter
    submitted_s: float = 0.0
    created_ms: int = 0
    tokens: list[int] = field(default_factory=list)
    token_times_s: list[float] = field(default_factory=list)
    cached_tokens: int = 0
    end: End = ""
    error: str = ""

    def __post_init__(self) -> None:
        """Start the clock."""
        self.submitted_s, self.created_ms = self.clock(), time.time_ns() // 1_000_000

    @property
    def hashes(self) -> tuple[str, ...]:
        """Return the content hashes of the adapters."""
        return tuple(adapter.sha256 for adapter in self.adapters)

    @property
    def fingerprint(self) -> str:
        """Return what served the request: the base's first 12 digits and every adapter."""
        return "+".join((self.base_sha256[:12], *self.named))

    @property
    def named(self) -> tuple[str, ...]:
        """Return the adapters as answers name them: a hash alone, or `hash@weight` where a weight matters."""
        if all(adapter.weight == 1.0 for adapter in self.adapters) and len(self.adapters) < 2:
            return self.hashes
        weights = (repr(float(adapter.weight)).removesuffix(".0") for adapter in self.adapters)
        return tuple(f"{sha256}@{weight}" for sha256, weight in zip(self.hashes, weights, strict=True))

    @property
    def finish(self) -> str:
        """Return the finish reason that log and answer carry."""
        return FINISH.get(self.end, self.end)

    def take(self, piece: Piece) -> str:
        """Record a piece and return the text that the client may see; `end` is set when nothing follows."""
        now, shown = self.clock(), []
        self.cached_tokens = piece.cached_tokens
        for token, text in zip(piece.tokens, piece.texts, strict=True):
            self.tokens.append(token)
            self.token_times_s.append(now)
            shown.append(self.stops.push(text))
            if self.stops.stopped:
                break
        else:
            if piece.end:
                shown += [self.stops.push(piece.tail), self.stops.flush()]
            self.end, self.error = piece.end, piece.error
        if self.stops.stopped:
            self.end = "stop"
        return "".join(shown)

    def usage(self) -> dict[str, object]:
        """Return the usage block of the answer."""
        prompt, generated = len(self.job.prompt), len(self.tokens)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": generated,
            "total_tokens": prompt + generated,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }

    @property
    def billed_prompt(self) -> tuple[int, ...]:
        """Return the prompt tokens that are billed: all of them once there is a first token, none before."""
        return self.job.prompt if self.tokens else ()

    def served(self) -> ServedRequest:
        """Return the record for log and bill of a request that has just ended."""
        ended = self.token_times_s[-1] if self.tokens else self.clock()
        return ServedRequest(
            request_id=self.job.id,
            ts=time.time_ns() // 1_000_000,
            key_id=self.key.id,
            tenant=self.key.tenant,
            base_sha256=self.base_sha256,
            adapters=self.adapters,
            prompt_tokens=self.billed_prompt,
            completion=tuple(self.tokens),
            cached_tokens=self.cached_tokens if self.tokens else 0,
            sampling=self.job.sampling,
            ttft_ms=1000 * (self.token_times_s[0] - self.submitted_s) if self.tokens else None,
            e2e_ms=1000 * (ended - self.submitted_s),
            finish=self.finish,
        )
