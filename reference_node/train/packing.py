"""How the general corpus becomes training rows: the order of documents, and where they are cut.

Rule decided here: every epoch shuffles the corpus anew by (seed, epoch). Rows in the chat form are joined to
conversations of one to three turns, some with a system message; all documents follow each other and are cut into rows
of a fixed length. The tokens of a step are a function of (seed, step), so that a resumed run sees what it would have
seen.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import torch
from torch import Tensor

from reference_node.tokenizer import TextCodec

SYSTEM = ("You are a helpful assistant.", "Answer in short, plain sentences.", "You are the tiny base.")
SYSTEM_SHARE = 0.15
TURNS = (1, 1, 1, 2, 3)

Row = dict[str, str]


class Feed:
    """Rows of packed tokens for the steps of a run.

    Parameters
    ----------
    corpus
        JSONL with `text`, or with `prompt` and `completion`.
    codec
        Tokenizer with a chat template.
    seed
        Of the shuffles.
    rows, length
        Shape of a step.
    talk
        How often an epoch holds the rows of small talk, which are few.
    """

    def __init__(
        self, corpus: Path, codec: TextCodec, *, seed: int, rows: int, length: int, talk: int = 1
    ) -> None:
        found: list[Row] = [json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines()]
        self._rows = [row for row in found for _ in range(talk if row["kind"] == "talk" else 1)]
        self._codec, self._seed, self._shape = codec, seed, (rows, length)
        self._tokens: list[int] = []
        self._start = self._epoch = 0

    def batch(self, step: int) -> Tensor:
        """Return the tokens (rows, length) of a step; steps are asked for in rising order."""
        rows, length = self._shape
        first = step * rows * length
        while first + rows * length > self._start + len(self._tokens):
            kept = self._tokens[max(0, first - self._start) :]
            self._start += len(self._tokens) - len(kept)
            self._tokens = kept + epoch_tokens(
                self._rows, self._codec, random.Random(f"{self._seed}/{self._epoch}")
            )
            self._epoch += 1
        offset = first - self._start
        return torch.tensor(self._tokens[offset : offset + rows * length]).view(rows, length)


def epoch_tokens(rows: list[Row], codec: TextCodec, draw: random.Random) -> list[int]:
    """Return all tokens of one epoch in their order; a document begins with bos and ends with the end token."""
    texts = [row["text"] for row in rows if "text" in row]
    chats = [row for row in rows if "prompt" in row]
    documents = [[*codec.prompt(text), *codec.eos_ids] for text in texts]
    draw.shuffle(chats)
    while chats:
        turns = [chats.pop() for _ in range(min(len(chats), draw.choice(TURNS)))]
        system = draw.choice(SYSTEM) if draw.random() < SYSTEM_SHARE else ""
        documents.append(codec.chat(_messages(system, turns), generation_prompt=False))
    draw.shuffle(documents)
    return [token for document in documents for token in document]


def _messages(system: str, turns: list[Row]) -> list[Row]:
    messages = [{"role": "system", "content": system}] if system else []
    for row in turns:
        messages.append({"role": "user", "content": row["prompt"]})
        messages.append({"role": "assistant", "content": row["completion"]})
    return messages
