"""Log-likelihood of texts under the base model and adapters.

Rule decided here: a text counts from a token on. Of a document that is its second token, of an answer its first; what
comes before is context. Batches are padded on the right with token 0, which no mask reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from reference_node.attribution.decoder import GroupedLora, hidden_states
from reference_node.model import Llama


@dataclass(frozen=True, slots=True)
class Text:
    """Token ids, and from which of them on the text counts.

    Parameters
    ----------
    tokens
        Context and what follows it.
    start
        First token whose likelihood counts, from 1 to below the number of tokens.
    """

    tokens: tuple[int, ...]
    start: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.start < len(self.tokens):
            raise ValueError(
                f"start {self.start} with {len(self.tokens)} tokens; allowed 1 to below the number of tokens"
            )


@dataclass(frozen=True, slots=True)
class Window:
    """How much of a long answer is read.

    Parameters
    ----------
    answer
        Tokens whose likelihood counts, at most.
    context
        Tokens before them, at most.
    """

    answer: int = 16
    context: int = 12

    def __post_init__(self) -> None:
        if self.answer < 1 or self.context < 1:
            raise ValueError(f"a window of {self.answer} tokens after {self.context}; allowed 1 and above")

    def __str__(self) -> str:
        return f"{self.answer}+{self.context}"

    def of(self, text: Text) -> Text:
        """Return the part of a text that is read; a short one whole."""
        spare = len(text.tokens) - text.start - self.answer
        if spare <= 0 and text.start <= self.context:
            return text
        digest = hashlib.sha256(np.asarray(text.tokens, ">u4").tobytes()).digest()
        first = text.start + int.from_bytes(digest[:8], "big") % (spare + 1) if spare > 0 else text.start
        low = max(first - self.context, 0)
        return Text(text.tokens[low : first + self.answer], first - low)


@dataclass(frozen=True, slots=True)
class Padded:
    """Texts as tensors: tokens int64 (texts, T), and whether the token after each is counted, (texts, T - 1)."""

    tokens: Tensor
    counted: Tensor

    def take(self, rows: Tensor) -> Padded:
        """Return some of the texts; `rows` may have more than one dimension."""
        return Padded(self.tokens[rows], self.counted[rows])


def padded(texts: Sequence[Text], device: torch.device | str = "cpu") -> Padded:
    """Return texts as tensors, as long as the longest of them."""
    longest = max(len(text.tokens) for text in texts)
    tokens = torch.zeros((len(texts), longest), dtype=torch.int64)
    counted = torch.zeros((len(texts), longest - 1), dtype=torch.bool)
    for row, text in enumerate(texts):
        tokens[row, : len(text.tokens)] = torch.tensor(text.tokens)
        counted[row, text.start - 1 : len(text.tokens) - 1] = True
    return Padded(tokens.to(device), counted.to(device))


def log_likelihoods(model: Llama, batch: Padded, lora: GroupedLora | None = None) -> Tensor:
    """Return the summed log-likelihood of the counted tokens of each text, float32 (G, B).

    Parameters
    ----------
    model, lora
        As in `hidden_states`.
    batch
        tokens (G, B, T).
    """
    states = hidden_states(model, batch.tokens[..., :-1], lora)
    logits = functional.linear(states, model.head)
    aims = batch.tokens[..., 1:]
    losses = functional.cross_entropy(logits.flatten(0, 2), aims.flatten(), reduction="none").view(aims.shape)
    return -torch.where(batch.counted, losses, 0.0).sum(-1)
