"""What was served: the facts of one request that billing needs, as the server hands them over.

Rule decided here: a request is billed by the content hashes that served it; alias and version are there for
people and for tariffs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reference_node.request import GREEDY, Sampling

if TYPE_CHECKING:
    from reference_node.manifest import AdapterManifest


@dataclass(frozen=True, slots=True)
class ServedAdapter:
    """One adapter of a served request.

    Parameters
    ----------
    sha256
        Content hash, 64 hexadecimal digits.
    alias, version
        The name that was asked for, and the version that it meant at admission.
    weight
        Weight within the ensemble.
    manifest
        Owner and DataNets, or None where the upload had none.
    """

    sha256: str
    alias: str = ""
    version: int = 0
    weight: float = 1.0
    manifest: AdapterManifest | None = None


@dataclass(frozen=True, slots=True)
class ServedRequest:
    """A request that ended, whatever way it ended.

    Parameters
    ----------
    request_id
        16 bytes, 32 hexadecimal digits; billed once.
    ts
        Unix milliseconds of its end.
    key_id, tenant
        Who asked.
    base_sha256
        Base model that served it.
    adapters
        Empty for the base model alone.
    prompt_tokens, completion
        Token ids.
    cached_tokens
        Prompt tokens that came from the prefix cache.
    sampling
        As the engine used it.
    ttft_ms, e2e_ms
        Time to first token (None without one) and to the end.
    finish
        stop, length, cancelled or error.
    """

    request_id: str
    ts: int
    key_id: str
    tenant: str
    base_sha256: str
    adapters: tuple[ServedAdapter, ...]
    prompt_tokens: tuple[int, ...]
    completion: tuple[int, ...]
    cached_tokens: int = 0
    sampling: Sampling = GREEDY
    ttft_ms: float | None = None
    e2e_ms: float = 0.0
    finish: str = "stop"

    def params(self) -> dict[str, Any]:
        """Return the sampling parameters that are logged, without the seed."""
        return {"temperature": self.sampling.temperature, "top_p": self.sampling.top_p}
