"""What was served: the facts of one request that billing needs, as the server hands them over.

Rules decided here: a request is billed by the content hashes that served it; alias and version are there for
people and for tariffs. Influence comes as whole numbers: what measured it turned floats into integers, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reference_node.billing.rules import NO_PARAMS
from reference_node.request import GREEDY, Sampling

if TYPE_CHECKING:
    from collections.abc import Mapping

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
class Influence:
    """Whose data an answer rests on.

    Parameters
    ----------
    method
        Name and version of what measured it, such as ``ef_base.v1``.
    weights
        (adapter's content hash, DataNet, contributor) -> weight of 10^9; what they leave is the residual.
    params
        Parameters of the method and policy of the weights: canonical JSON of a mapping.
    """

    method: str
    weights: Mapping[tuple[str, str, str], int]
    params: str = NO_PARAMS


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
    influence
        Whose data the answer rests on, None where it was not measured.
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
    influence: Influence | None = None
