"""Checkpoints of a training run: written whole or not at all.

Rule decided here: a checkpoint is one file, replaced in one rename after its bytes are on the disk, so that a run
killed at any moment resumes from the last whole checkpoint. It holds tensors, numbers and strings alone and is read
without executing anything.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from models.errors import InputError, Problem


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint: to a file beside it, then in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def load_checkpoint(path: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Return a checkpoint, or None where there is none.

    Parameters
    ----------
    identity
        What the run is (data, base, settings). A checkpoint of another run is refused.

    Raises
    ------
    InputError
        When the file is unreadable, or belongs to a run with other settings; every difference is named.
    """
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found = state["identity"]
    except Exception as error:
        raise InputError([Problem(f"not a readable checkpoint: {error!r}", where=str(path))]) from error
    wrong = [
        Problem(f"the checkpoint was made with {found.get(key)!r}, this run has {value!r}", key, str(path))
        for key, value in identity.items()
        if found.get(key) != value
    ]
    if wrong:
        raise InputError(wrong)
    return state
