"""Operations log: what an operator needs to know of a request and a proof does not.

Rules decided here. One JSON line per request, written before its record and joined to it by `request_id`; the
line is neither hashed nor chained, so it may be deleted when its retention ends without breaking the log. It
holds no prompt and no completion: the prompt's hash is salted per request, so that equal prompts do not look
equal and a short prompt cannot be guessed from a table.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reference_node.billing.hashes import sha256
from reference_node.billing.record import LogRecord
from reference_node.billing.served import ServedRequest

_PREFIX = "operations-"


def operations_path(segment: Path) -> Path:
    """Return the operations file beside a segment."""
    return segment.with_name(f"{_PREFIX}{segment.stem}.jsonl")


def operations_line(
    served: ServedRequest, record: LogRecord, tokenizer_sha256: str, salt: bytes
) -> dict[str, Any]:
    """Return the fields of a request's line.

    Parameters
    ----------
    served, record
        The request and its record.
    tokenizer_sha256
        Says what the ids mean.
    salt
        Random bytes of this request.
    """
    ids = b"".join(token.to_bytes(4, "big") for token in served.prompt_tokens)
    nets = [net.id for one in served.adapters if one.manifest is not None for net in one.manifest.datanets]
    return {
        "request_id": served.request_id,
        "seq": record.seq,
        "ts": served.ts,
        "key_id": served.key_id,
        "tenant": served.tenant,
        "base_sha256": served.base_sha256,
        "tokenizer_sha256": tokenizer_sha256,
        "adapter_sha256": [one.sha256 for one in served.adapters],
        "adapter_alias": [one.alias for one in served.adapters],
        "adapter_version": [one.version for one in served.adapters],
        "data_ids": sorted(set(nets)),
        "prompt_salt": salt.hex(),
        "prompt_sha256": sha256(salt + ids).hex(),
        "prompt_tokens": record.tokens_in,
        "cached_tokens": record.cached_tokens,
        "completion_tokens": record.tokens_out,
        "completion_sha256": record.output_hash.hex(),
        "seed": served.sampling.seed,
        "params": served.params(),
        "ttft_ms": served.ttft_ms,
        "e2e_ms": served.e2e_ms,
        "finish": served.finish,
    }


def read_operations(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (``file:line``, fields) of every whole line; a line that a crash cut short is left out."""
    for path in sorted(folder.glob(f"{_PREFIX}*.jsonl")):
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    fields = json.loads(line)
                except ValueError:
                    continue
                if isinstance(fields, dict) and line.endswith(b"\n"):
                    yield f"{path}:{number}", fields


class OperationsWriter:
    """Appends lines; the caller holds a lock."""

    def __init__(self) -> None:
        self._descriptor, self._path = -1, Path()

    def append(self, path: Path, fields: dict[str, Any]) -> None:
        """Write one line to the file `path`."""
        if path != self._path:
            self._open(path)
        os.write(self._descriptor, json.dumps(fields, allow_nan=False).encode() + b"\n")

    def sync(self) -> None:
        """Put everything on the disk."""
        if self._descriptor >= 0:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Put everything on the disk and close the file."""
        if self._descriptor >= 0:
            self.sync()
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self, path: Path) -> None:
        self.close()
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")  # ends the line that a crash cut short
