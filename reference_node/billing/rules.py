"""Rules of a record: the tariff that billed it, and how influence was measured and turned into weights.

Rule decided here: what does not change from request to request is named by one hash. The document is canonical JSON,
kept once beside the log: the tariff's hash, the method of attribution and all its parameters, the policy of the weights
among them (clip order, clusters, null level). With method "none" nothing was measured and the residual is everything.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from reference_node.billing.hashes import canonical_json, digest_bytes, sha256

NO_METHOD = "none"
NO_PARAMS = "{}"


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a record.

    Parameters
    ----------
    tariff_sha256
        Hash of the tariff, 64 hexadecimal digits.
    method
        Name and version of the method of attribution, such as ``ef_base.v1``.
    params
        Its parameters, policy among them: canonical JSON of a mapping.
    """

    tariff_sha256: str
    method: str = NO_METHOD
    params: str = NO_PARAMS

    def __post_init__(self) -> None:
        digest_bytes(self.tariff_sha256, "tariff")
        if not (self.method.isascii() and self.method.isprintable() and 0 < len(self.method) <= 64):
            raise ValueError(f"method {self.method!r} must be 1 to 64 printable ASCII characters")
        params = json.loads(self.params)
        if not isinstance(params, dict) or canonical_json(params).decode() != self.params:
            raise ValueError(f"params {self.params[:100]!r} are not the canonical JSON of a mapping")

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Rules:
        """Return the rules that `document` was made from."""
        params = canonical_json(document["params"]).decode()
        return cls(document["tariff_sha256"], document["method"], params)

    def document(self) -> dict[str, Any]:
        """Return the rules as plain JSON values."""
        params = json.loads(self.params)
        return {"schema": 1, "tariff_sha256": self.tariff_sha256, "method": self.method, "params": params}

    @property
    def digest(self) -> bytes:
        """Hash of the document, 32 bytes."""
        return sha256(canonical_json(self.document()))
