"""What one client may ask for and how long the node lets it wait.

Rule: every figure that a client can make large has a bound here, and each bound answers with one status: 400 for a
request that could never be served, 413 for a body, 429 for a full house, 503 for a wait that lasted too long.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from models.errors import InputError, Problem


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the interface.

    Parameters
    ----------
    body_bytes, upload_bytes
        Largest JSON body and largest adapter upload.
    prompt_tokens, max_tokens
        Of one request; the engine's own length applies as well.
    queue
        Requests that wait for the engine; one more is answered 429.
    queue_wait_s
        How long a request may wait before it is answered 503.
    wall_s
        How long a request may be served; what was generated until then is returned and billed.
    streams
        Requests open at once, waiting and running; one more is answered 429.
    send_s
        A client that takes nothing for this long counts as gone.
    ensemble
        Adapters of one request.
    metric_adapters
        Adapters that get a metrics label of their own; the others share the label "other".
    """

    body_bytes: int = 1 << 20
    upload_bytes: int = 512 << 20
    prompt_tokens: int = 32_768
    max_tokens: int = 8_192
    queue: int = 256
    queue_wait_s: float = 30.0
    wall_s: float = 600.0
    streams: int = 512
    send_s: float = 60.0
    ensemble: int = 8
    metric_adapters: int = 200

    def __post_init__(self) -> None:
        """Refuse bounds that would let nothing through.

        Raises
        ------
        InputError
            Naming every bound that is not above zero.
        """
        wrong = [
            Problem(f"{getattr(self, item.name)!r}: allowed above 0", path=f"limits.{item.name}")
            for item in fields(self)
            if not getattr(self, item.name) > 0
        ]
        if wrong:
            raise InputError(wrong)
