"""Operations log: what an operator needs to know of a request and a proof does not.

Rules decided here. One JSON line per request, written before its record and joined to it by `request_id`; the
line is neither hashed nor chained, so it may be deleted when its retention ends without breaking the log. It
holds no prompt and no completion: the prompt's hash is salted per request, so that equal prompts do not look
equal and a short prompt cannot be guessed from a table; restricted DataNets stand under their blinded names. Lines are
written in the order of the records, and read beside them.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from reference_node.billing.hashes import ids_bytes, sha256
from reference_node.billing.record import LogRecord
from reference_node.billing.served import ServedAdapter, ServedRequest

_PREFIX = "operations-"
_encode = json.JSONEncoder(allow_nan=False).encode


def operations_path(segment: Path) -> Path:
    """Return the operations file beside a segment."""
    return segment.with_name(f"{_PREFIX}{segment.stem}.jsonl")


def fixed_fields(base_sha256: str, tokenizer_sha256: str, adapters: Sequence[ServedAdapter]) -> str:
    """Return the fields that all requests of the same adapters share, as JSON text without braces."""
    manifests = (one.manifest for one in adapters if one.manifest is not None)
    nets = {net.outside("datanet", net.id) for manifest in manifests for net in manifest.datanets}
    fields = {
        "base_sha256": base_sha256,
        "tokenizer_sha256": tokenizer_sha256,
        "adapter_sha256": [one.sha256 for one in adapters],
        "adapter_alias": [one.alias for one in adapters],
        "data_ids": sorted(nets),
    }
    return _encode(fields)[1:-1]


class Repeated(NamedTuple):
    """What a request's line and its record both say.

    Parameters
    ----------
    seq, request_id, tokens_in, cached_tokens, tokens_out, output_hash
        As in `record.LogRecord`.
    """

    seq: int
    request_id: bytes
    tokens_in: int
    cached_tokens: int
    tokens_out: int
    output_hash: bytes

    @classmethod
    def of(cls, record: LogRecord) -> Repeated:
        """Return it of a record."""
        return cls(
            record.seq,
            record.request_id,
            record.tokens_in,
            record.cached_tokens,
            record.tokens_out,
            record.output_hash,
        )

    def fields(self) -> dict[str, int | str]:
        """Return the fields of the line behind its beginning that say it."""
        return {
            "prompt_tokens": self.tokens_in,
            "cached_tokens": self.cached_tokens,
            "completion_tokens": self.tokens_out,
            "completion_sha256": self.output_hash.hex(),
        }

    def beginning(self) -> str:
        """Return how the line begins; numbers and digits need no encoder, which would take most of the time."""
        return f'{{"request_id": "{self.request_id.hex()}", "seq": {self.seq}, '

    def text(self) -> str:
        """Return the rest of it as it stands in the line."""
        return (
            f'"prompt_tokens": {self.tokens_in}, "cached_tokens": {self.cached_tokens}, '
            f'"completion_tokens": {self.tokens_out}, "completion_sha256": "{self.output_hash.hex()}"'
        )


def operations_line(served: ServedRequest, repeated: Repeated, fixed: str, salt: bytes) -> str:
    """Return a request's line.

    Parameters
    ----------
    served, repeated
        The request, and what its record says too.
    fixed
        `fixed_fields` of its adapters.
    salt
        Random bytes of this request.
    """
    prompt = sha256(salt + ids_bytes(served.prompt_tokens)).hex()
    sampling, versions = served.sampling, [one.version for one in served.adapters]
    who = _said(served.key_id, served.tenant, served.finish, sampling.temperature, sampling.top_p)
    return (
        f'{repeated.beginning()}"ts": {served.ts}, "prompt_salt": "{salt.hex()}", "prompt_sha256": "{prompt}", '
        f'{repeated.text()}, "adapter_version": {versions}, "seed": {sampling.seed}, '
        f'"ttft_ms": {_number(served.ttft_ms)}, "e2e_ms": {_number(served.e2e_ms)}, {who}, {fixed}}}\n'
    )


@lru_cache(4096)
def _said(key_id: str, tenant: str, finish: str, temperature: float, top_p: float) -> str:
    params = {"temperature": temperature, "top_p": top_p}
    return _encode({"key_id": key_id, "tenant": tenant, "finish": finish, "params": params})[1:-1]


def _number(value: float | None) -> str:
    if value is None:
        return "null"
    if not math.isfinite(value):
        raise ValueError(f"a latency of {value} ms is no finite number")
    return repr(float(value))


def read_operations(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (``file:line``, fields) of every whole line; a line that a crash cut short is left out."""
    for place, line in operations_lines(folder):
        fields = parse_line(line)
        if fields:
            yield str(place), fields


def parse_line(line: bytes) -> dict[str, Any]:
    """Return the fields of a line, none where it is not whole."""
    try:
        fields = json.loads(line)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) and line.endswith(b"\n") else {}


class LinePlace(NamedTuple):
    """A line of an operations file."""

    path: Path
    number: int

    def __str__(self) -> str:
        """Return ``file:line``."""
        return f"{self.path}:{self.number}"


class OperationsJoin:
    """Lines of the records of a log, which are asked for in order; only a few lines are held at a time.

    Parameters
    ----------
    lines
        `operations_lines` of the log, or of one of its segments.
    """

    def __init__(self, lines: Iterator[tuple[LinePlace, bytes]]) -> None:
        self._rest = lines
        self._next = next(self._rest, None)

    def line_of(self, repeated: Repeated) -> tuple[LinePlace, bytes] | None:
        """Return the last line of a record and its place, None where there is none.

        Lines of requests that a crash kept from being recorded are passed over.
        """
        beginning, found = repeated.beginning().encode(), None
        while self._next is not None:
            place, line = self._next
            if line.startswith(beginning):
                found = place, line
            elif found or _seq_of(line) > repeated.seq:
                break
            self._next = next(self._rest, None)
        return found


def agrees(line: bytes, repeated: Repeated) -> bool:
    """Return whether a line is as it was written, where it repeats its record."""
    return repeated.text().encode() in line


def _seq_of(line: bytes) -> int:
    seq = parse_line(line).get("seq", -1)
    return seq if type(seq) is int else -1


def operations_lines(folder: Path) -> Iterator[tuple[LinePlace, bytes]]:
    """Yield all lines of a log's folder, in order."""
    for path in sorted(folder.glob(f"{_PREFIX}*.jsonl")):
        yield from lines_of(path)


def lines_of(path: Path) -> Iterator[tuple[LinePlace, bytes]]:
    """Yield the lines of an operations file; none where it is gone."""
    if path.exists():
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield LinePlace(path, number), line


class OperationsWriter:
    """Appends lines; the caller holds a lock."""

    def __init__(self) -> None:
        self._descriptor, self._segment = -1, Path()

    def append(self, segment: Path, lines: bytes) -> None:
        """Write whole lines to the file beside a segment."""
        if segment is not self._segment:
            self._open(operations_path(segment))
            self._segment = segment
        os.write(self._descriptor, lines)

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
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")  # ends the line that a crash cut short
