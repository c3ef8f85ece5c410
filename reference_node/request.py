"""What a client asks of the engine and what it gets: requests, sampling, completions.

A request names adapters by content hash alone, because a name can change its meaning while the request waits. A
completion carries those hashes with every token they served, so that a payer can be told what was run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Finish = Literal["", "stop", "length", "cancelled", "error"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen.

    Parameters
    ----------
    temperature
        0 is greedy: the largest logit, the lowest id among equals.
    top_p
        Smallest set of tokens whose probability reaches this is kept (nucleus), above 0 to 1.
    seed
        Draws are a function of (seed, index of the token): the same request gives the same tokens in any batch.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


GREEDY = Sampling()


@dataclass(frozen=True, slots=True)
class AdapterUse:
    """One adapter of a request and the weight of its update; several weighted ones are an ensemble."""

    sha256: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for.

    Parameters
    ----------
    id
        Unique among requests in flight.
    prompt
        Token ids, at least one.
    max_new_tokens
        Tokens to generate, at least one.
    adapters
        Empty for the base model; several form an ensemble, no hash twice.
    sampling
        Greedy unless said otherwise.
    stop_tokens
        Generation ends after any of these.
    tenant
        Whose request this is: salts the prefix cache and shares the engine fairly.
    """

    id: str
    prompt: tuple[int, ...]
    max_new_tokens: int
    adapters: tuple[AdapterUse, ...] = ()
    sampling: Sampling = GREEDY
    stop_tokens: frozenset[int] = frozenset()
    tenant: str = ""


@dataclass(slots=True)
class Completion:
    """What was served so far: tokens, the clock (s) at submission and at each token, how it ended.

    Parameters
    ----------
    request
        As it was submitted; its adapters are the ones that served every token.
    submitted_s
        Clock at submission.
    tokens, token_times_s
        Generated ids and the clock when each was known.
    cached_tokens
        Prompt tokens whose keys and values came from the prefix cache.
    preemptions
        How often it was set back to the queue and computed again.
    finish
        Empty while in flight.
    error
        Why it failed after admission, with `finish` "error".
    """

    request: Request
    submitted_s: float
    tokens: list[int] = field(default_factory=list)
    token_times_s: list[float] = field(default_factory=list)
    cached_tokens: int = 0
    preemptions: int = 0
    finish: Finish = ""
    error: str = ""
