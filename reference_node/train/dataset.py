"""Training data: JSONL rows that say who gave them.

Rule decided here: a row holds exactly `id`, `datanet`, `contributor`, `prompt` and `completion`, all of them text; ids
are unique. Nothing is skipped or repaired, because every row is somebody's claim to pay: a file with mistakes is
refused with all of them, each with its line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.errors import InputError, Problem
from reference_node.manifest_reader import NAME
from reference_node.strict_json import parse_json, short
from reference_node.tokenizer import TextCodec

FIELDS = ("id", "datanet", "contributor", "prompt", "completion")
NAMES = ("id", "datanet", "contributor")
ROW_BYTES_MAX = 1 << 20
PROBLEMS_MAX = 50
IGNORED_LABEL = -100  # transformers leaves these positions out of the loss


@dataclass(frozen=True, slots=True)
class Example:
    """One row: what was asked, what is a good answer, and whose it is; `line` counts from 1."""

    id: str
    datanet: str
    contributor: str
    prompt: str
    completion: str
    line: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """The rows of a file in their order, and the hash of its bytes."""

    path: Path
    sha256: str
    rows: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Sequenced:
    """A row as tokens; those from `start` on are the answer and are learned."""

    tokens: tuple[int, ...]
    start: int


def read_dataset(path: Path) -> Dataset:
    """Read a dataset.

    Raises
    ------
    InputError
        With every mistake and its line, at most the first 50.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError([Problem(f"cannot read the dataset: {error.strerror}", where=str(path))]) from error
    if not data.strip():
        raise InputError([Problem("the file holds no rows; every line holds one", where=str(path))])
    problems: list[Problem] = []
    rows: list[Example] = []
    first_line: dict[str, int] = {}
    for number, line in enumerate(data.removesuffix(b"\n").split(b"\n"), 1):
        where = f"{path}:{number}"
        row = _read_row(line, where, problems)
        if row is None:
            continue
        if row["id"] in first_line:
            problems.append(
                Problem(f"{row['id']!r} is used on line {first_line[row['id']]} already", "id", where)
            )
        first_line.setdefault(row["id"], number)
        rows.append(Example(**row, line=number))
    _raise(problems)
    return Dataset(path, hashlib.sha256(data).hexdigest(), tuple(rows))


def sequence_rows(dataset: Dataset, codec: TextCodec, length_max: int) -> list[Sequenced]:
    """Return the rows as tokens in the chat form of the base model.

    Raises
    ------
    InputError
        When rows are longer than the base model reads; all of them are named.
    """
    found, problems = [], []
    for row in dataset.rows:
        sequence = _sequence(row, codec)
        if len(sequence.tokens) > length_max:
            message = f"{len(sequence.tokens)} tokens with the chat form; allowed {length_max}"
            problems.append(Problem(message, where=f"{dataset.path}:{row.line}"))
        found.append(sequence)
    _raise(problems)
    return found


def collate(rows: Sequence[Sequenced], pad: int, device: str = "cpu") -> dict[str, Tensor]:
    """Return the model's inputs for a batch: `input_ids`, `attention_mask`, `labels`, each (rows, longest)."""
    longest = max(len(row.tokens) for row in rows)
    ids = torch.full((len(rows), longest), pad)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORED_LABEL)
    for i, row in enumerate(rows):
        tokens = torch.tensor(row.tokens)
        ids[i, : len(tokens)] = tokens
        mask[i, : len(tokens)] = 1
        labels[i, row.start : len(tokens)] = tokens[row.start :]
    batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    return {name: tensor.to(device) for name, tensor in batch.items()}


def _read_row(line: bytes, where: str, problems: list[Problem]) -> dict[str, str] | None:
    """Return a row's fields; None, with the problems noted, where it is not usable."""
    if not line.strip():
        problems.append(Problem("blank line; every line holds one row", where=where))
        return None
    try:
        raw = parse_json(line, where=where, bytes_max=ROW_BYTES_MAX, depth_max=4)
    except InputError as error:
        problems.extend(error.problems)
        return None
    if not isinstance(raw, dict):
        problems.append(Problem(f"a row is a mapping with {', '.join(FIELDS)}", where=where))
        return None
    wrong = [Problem("is missing", field, where) for field in FIELDS if field not in raw]
    wrong += [
        Problem(f"unknown field; allowed {', '.join(FIELDS)}", short(field), where)
        for field in raw
        if field not in FIELDS
    ]
    wrong += [Problem(message, field, where) for field in FIELDS if (message := _fault(field, raw))]
    problems.extend(wrong)
    return None if wrong else {field: raw[field] for field in FIELDS}


def _fault(field: str, raw: dict[str, Any]) -> str:
    """Return what is wrong with a field that is there, "" when nothing is."""
    value = raw.get(field, "x")
    if not isinstance(value, str):
        return f"{short(repr(value))} is not text"
    if field in NAMES and not NAME.fullmatch(value):
        return f"{short(repr(value))} must be 1 to 64 letters, digits, '.', '_', ':' or '-', a letter or digit first"
    return "" if value.strip() else "is empty"


def _sequence(row: Example, codec: TextCodec) -> Sequenced:
    if not codec.has_chat:
        prompt = codec.prompt(row.prompt)
        return Sequenced((*prompt, *codec.encode(row.completion), *codec.eos_ids[:1]), len(prompt))
    question = {"role": "user", "content": row.prompt}
    answer = {"role": "assistant", "content": row.completion}
    prompt, whole = codec.chat([question]), codec.chat([question, answer], generation_prompt=False)
    if whole[: len(prompt)] == prompt:
        return Sequenced(tuple(whole), len(prompt))
    # a template that writes finished answers in another form than the one it asks for
    return Sequenced((*prompt, *codec.encode(row.completion), *codec.eos_ids[:1]), len(prompt))


def _raise(problems: list[Problem]) -> None:
    if len(problems) > PROBLEMS_MAX:
        problems = [*problems[:PROBLEMS_MAX], Problem(f"and {len(problems) - PROBLEMS_MAX} more")]
    if problems:
        raise InputError(problems)
