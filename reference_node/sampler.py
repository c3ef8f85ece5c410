"""Which token follows: greedy or drawn, the same for a request whatever else is in its batch.

A draw is a function of the request's seed and the index of the token alone (SHA-256 of both), so neither the batch nor
a recomputation after preemption changes it. A row whose logits are not numbers yields no token and ends alone.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence

import torch
from torch import Tensor

from reference_node.request import Sampling

NO_TOKEN = -1


def problems(sampling: Sampling) -> list[str]:
    """Return what is wrong with a request's sampling."""
    wrong = []
    if not (math.isfinite(sampling.temperature) and sampling.temperature >= 0):
        wrong.append(f"temperature {sampling.temperature!r}: allowed 0 and above")
    if not 0 < sampling.top_p <= 1:
        wrong.append(f"top_p {sampling.top_p!r}: allowed above 0 and at most 1")
    if not -(1 << 63) <= sampling.seed < 1 << 63:
        wrong.append(f"seed {sampling.seed!r}: allowed 64-bit integers")
    return wrong


def uniform(seed: int, index: int) -> float:
    """Return the draw in [0, 1) of token `index` of a request.

    >>> 0 <= uniform(7, 0) < 1 and uniform(7, 0) != uniform(7, 1)
    True
    """
    digest = hashlib.sha256(struct.pack("<qq", seed, index)).digest()
    return (int.from_bytes(digest[:8], "little") >> 11) / (1 << 53)


def next_tokens(logits: Tensor, samplings: Sequence[Sampling], indices: Sequence[int]) -> list[int]:
    """Return one token for each row, `NO_TOKEN` where the row holds NaN or no finite largest logit.

    Parameters
    ----------
    logits : float32 (n, vocab)
    samplings : n, how each row's token is chosen
    indices : n, index of the token in its completion, 0 for the first
    """
    tokens = _greedy(logits)
    drawn = [row for row, sampling in enumerate(samplings) if sampling.temperature > 0]
    drawn = [row for row in drawn if tokens[row] != NO_TOKEN]
    if drawn:
        chosen = _draw(
            logits[drawn] if len(drawn) < len(tokens) else logits,
            [samplings[row] for row in drawn],
            [uniform(samplings[row].seed, indices[row]) for row in drawn],
        )
        for row, token in zip(drawn, chosen, strict=True):
            tokens[row] = token
    return tokens


def _greedy(logits: Tensor) -> list[int]:
    """Return the first of the largest logits of each row; numpy's search is 10 times torch's on a CPU."""
    if logits.device.type == "cpu":
        values = logits.numpy()
        best = values.argmax(axis=1)
        top = values[range(len(values)), best].tolist()
        return [
            token if math.isfinite(value) else NO_TOKEN
            for token, value in zip(best.tolist(), top, strict=True)
        ]
    largest, index = logits.max(dim=-1)
    return torch.where(largest.isfinite(), index, NO_TOKEN).tolist()


def _draw(logits: Tensor, samplings: Sequence[Sampling], uniforms: Sequence[float]) -> list[int]:
    """Draw by the inverse of the cumulated probabilities of each row's nucleus, in double precision."""

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=logits.device)[:, None]

    wide = logits.double()
    wide = (wide - wide.amax(dim=-1, keepdim=True)) / column([s.temperature for s in samplings])
    chance, order = wide.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    total = chance.cumsum(dim=-1)
    kept = (total < column([s.top_p for s in samplings])).sum(dim=-1, keepdim=True)
    kept = kept.clamp(max=logits.shape[1] - 1)  # index of the last token of the nucleus
    target = column(uniforms) * total.gather(1, kept)
    place = torch.minimum((total <= target).sum(dim=-1, keepdim=True), kept)
    return order.gather(1, place).squeeze(1).tolist()
