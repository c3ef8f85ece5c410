"""What checkpoint and machine allow: the device, the longest request, the memory of keys and values.

Rule: a value that cannot hold is refused with the flag's name and what is allowed; none is changed in silence. Without
a flag a request is as long as the base was trained for, and no longer than `LENGTH_DEFAULT`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.errors import InputError, Problem
from reference_node.config import ModelConfig

BLOCK_TOKENS = 16
LENGTH_DEFAULT = 2048


def device_problem(device: str) -> str:
    """Return why a device cannot be used; empty when it can."""
    import torch

    here = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    return "" if device in here else f"--device {device}: not available; allowed here: {', '.join(here)}"


def context_length(folder: Path, asked: int | None) -> int:
    """Return the tokens that a request may have.

    Parameters
    ----------
    folder
        Transformers folder of the base; a configuration that names no length sets no limit.
    asked
        What the operator asks for; None for as many as the base takes, up to `LENGTH_DEFAULT`.

    Raises
    ------
    InputError
        When more is asked for than the positions that the base was trained for.
    """
    path = folder / "config.json"
    try:
        trained = json.loads(path.read_text(encoding="utf-8")).get("max_position_embeddings")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(
            [Problem(f"cannot read the model's configuration: {error}", where=str(path))]
        ) from error
    if type(trained) is not int or trained < 1:
        return asked or LENGTH_DEFAULT
    if asked is not None and asked > trained:
        message = f"--length-max {asked}: the base has {trained} positions; allowed 2 to {trained}"
        raise InputError([Problem(message, path="max_position_embeddings", where=str(path))])
    return asked or min(LENGTH_DEFAULT, trained)


def kv_blocks(kv_bytes: int, config: ModelConfig, dtype: Any) -> int | None:
    """Return how many blocks of keys and values fit into `kv_bytes`; None for 0, which sets no limit.

    Raises
    ------
    InputError
        When not one block fits.
    """
    block = int(BLOCK_TOKENS * 2 * config.layers * config.kv_heads * config.head_dim * dtype.itemsize)
    if 0 < kv_bytes < block:
        raise InputError(f"--kv-bytes {kv_bytes}: allowed 0, and {block} (one block) and above")
    return kv_bytes // block or None
