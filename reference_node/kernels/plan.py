"""Which tokens share an adapter: the host's part of the prompt kernels, computed once per batch.

Tokens of one use are sorted by slot and cut into tiles of `TILE`; a tile holds one slot. Tiles pay when tokens share
adapters, as the tokens of a prompt do; where nearly every token has an adapter of its own (decode), a row at a time
reads the same bytes and wastes no padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

TILE = 32
# Tokens per distinct adapter from which tiles are used: below it a tile is mostly padding, above it reading the
# matrices once per tile and the matrix units win (class estimated).
SHARED_MIN = 4.0


@dataclass(frozen=True, slots=True)
class Tiles:
    """Tiles of one use.

    Parameters
    ----------
    use
        Column of `slots` and `weights` that these tiles belong to.
    slots : int32 (tiles,)
    rows : int32 (tiles, TILE), token of each entry, -1 for padding
    """

    use: int
    slots: Tensor
    rows: Tensor


def make_tiles(slots: np.ndarray, device: torch.device) -> list[Tiles]:
    """Return the tiles of every use of int (tokens, uses) slots that lie on the host, -1 for none."""
    found = (_tiles_of_use(column, use, device) for use, column in enumerate(slots.T))
    return [tiles for tiles in found if tiles is not None]


def plan_tiles(slots: np.ndarray, device: torch.device) -> list[Tiles] | None:
    """Return tiles where they pay (see `SHARED_MIN`), else None: the kernels then go row by row."""
    used = slots[slots >= 0]
    if used.size < SHARED_MIN * max(1, np.unique(used).size):
        return None
    return make_tiles(slots, device)


def _tiles_of_use(column: np.ndarray, use: int, device: torch.device) -> Tiles | None:
    tokens = np.flatnonzero(column >= 0)
    if not tokens.size:
        return None
    tokens = tokens[np.argsort(column[tokens], kind="stable")]
    owners, starts, counts = np.unique(column[tokens], return_index=True, return_counts=True)
    tiles_each = -(-counts // TILE)
    rows = np.full((int(tiles_each.sum()), TILE), -1, dtype=np.int32)
    first_tile = np.repeat(np.cumsum(tiles_each) - tiles_each, counts)
    place = np.arange(tokens.size) - np.repeat(starts, counts)
    rows[first_tile + place // TILE, place % TILE] = tokens
    slots = torch.from_numpy(np.repeat(owners, tiles_each).astype(np.int32))
    return Tiles(
        use, slots.to(device, non_blocking=True), torch.from_numpy(rows).to(device, non_blocking=True)
    )
