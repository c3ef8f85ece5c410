"""Where adapters lie on the device: permanent tables with one slot per adapter, in the layout that the device reads.

On a CPU the layout is strips (`StripStore`): an adapter of rank r is ceil(r / 16) strips, each a low-rank update of
its own, so that ranks and ensembles are one thing, a sum of strips, and no rank is padded to the largest. On an
accelerator it is slabs (`SlabStore`), padded to the pool's rank, which the kernels read up to each slot's own rank.
alpha / rank is folded into B when an adapter is packed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_node.adapters import Adapter
from reference_node.config import GROUPS, ModelConfig

STRIP = 16  # ranks per strip: one 512-bit register of float32


@dataclass(frozen=True, slots=True)
class Packed:
    """An adapter on the host, one flat tensor in the order and dtype of its slot.

    Parameters
    ----------
    sha256, rank
        Of the adapter.
    groups
        Fused groups that it changes, in the order of `GROUPS`.
    flat
        All pieces one after another, layer by layer; pinned where the device is an accelerator.
    """

    sha256: str
    rank: int
    groups: tuple[str, ...]
    flat: Tensor

    @property
    def nbytes(self) -> int:
        """Return the bytes that it occupies."""
        return self.flat.numel() * self.flat.element_size()


class SlotStore(ABC):
    """Tables of one layout; `rank` and `groups` say what each slot holds.

    Parameters
    ----------
    config
        Shape of the base model.
    slots, rank_max
        Slots, and the largest rank of an adapter.
    """

    def __init__(
        self, config: ModelConfig, slots: int, rank_max: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.config, self.slots, self.rank_max, self.device, self.dtype = (
            config,
            slots,
            rank_max,
            device,
            dtype,
        )
        self.rank = [0] * slots
        self.groups: list[frozenset[str]] = [frozenset()] * slots

    @abstractmethod
    def tables(self, layer: int, group: str) -> list[Tensor]:
        """Return the tables of a group, slot first."""

    @abstractmethod
    def views(self, slot: int, rank: int, layer: int, group: str) -> list[Tensor]:
        """Return where the pieces of an adapter of this rank go."""

    @abstractmethod
    def pieces(self, adapter: Adapter, layer: int, group: str) -> list[Tensor]:
        """Return an adapter's numbers in the shapes of `views`, missing projections as zeros."""

    @abstractmethod
    def add_dense(self, slot: int, layer: int, group: str, weight: float, matrix: Tensor) -> None:
        """Add a slot's whole weighted update, B A, to a fused projection (out, in) in float32, in place."""

    def pack(self, adapter: Adapter) -> Packed:
        """Lay an adapter out for this device, in host memory."""
        groups = tuple(group for group, names in GROUPS.items() if set(names) & set(adapter.targets))
        pieces = [
            piece.to(self.dtype).reshape(-1)
            for layer in range(self.config.layers)
            for group in groups
            for piece in self.pieces(adapter, layer, group)
        ]
        size = sum(piece.numel() for piece in pieces)
        flat = torch.empty(size, dtype=self.dtype, pin_memory=self.device.type == "cuda")
        return Packed(adapter.sha256, adapter.rank, groups, torch.cat(pieces, out=flat))

    def write(self, slot: int, packed: Packed, source: Tensor | None = None) -> None:
        """Put an adapter into a slot and clear what the slot's last one leaves beside it.

        Parameters
        ----------
        source
            The adapter's flat tensor if it was brought to the device already.
        """
        for group in self.groups[slot]:
            if group not in packed.groups or self.rank[slot] > packed.rank:
                for layer in range(self.config.layers):
                    for table in self.tables(layer, group):
                        table[slot].zero_()
        views = [
            view
            for layer in range(self.config.layers)
            for group in packed.groups
            for view in self.views(slot, packed.rank, layer, group)
        ]
        flat = packed.flat if source is None else source
        parts = flat.split([view.numel() for view in views])
        torch._foreach_copy_(views, [part.view(view.shape) for part, view in zip(parts, views, strict=True)])
        self.rank[slot], self.groups[slot] = packed.rank, frozenset(packed.groups)

    def nbytes(self) -> int:
        """Return the bytes of all tables."""
        return sum(
            table.numel() * table.element_size()
            for layer in range(self.config.layers)
            for group in GROUPS
            for table in self.tables(layer, group)
        )


class StripStore(SlotStore):
    """Tables of strips, made for `embedding_bag`, which reads rows in place and never copies an adapter.

    A strip is `width` ranks of a whole group. Table A of a group is (slots, strips, in, parts x width): the shrink is
    a bag of `in` rows weighted by x. Table B is (slots, strips, pieces, width, piece): the expansion of a piece is a
    bag of `width` rows weighted by the shrunk values. Pieces have one size per group: q counts as several of k's.
    """

    def __init__(
        self, config: ModelConfig, slots: int, rank_max: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__(config, slots, rank_max, device, dtype)
        self.width = min(STRIP, rank_max)
        self.strips = -(-rank_max // self.width)
        shapes = config.projections()
        self.inputs = {group: shapes[names[0]][1] for group, names in GROUPS.items()}
        self.piece = {group: min(shapes[name][0] for name in names) for group, names in GROUPS.items()}
        # The part (projection) that each piece of a group belongs to.
        self.part_of = {
            group: [
                part for part, name in enumerate(names) for _ in range(shapes[name][0] // self.piece[group])
            ]
            for group, names in GROUPS.items()
        }
        # Columns of the shrunk values that each piece takes, None where every part is one piece.
        self.columns = {group: self._columns_of(parts) for group, parts in self.part_of.items()}
        zeros = {"dtype": dtype, "device": device}
        self.a: list[dict[str, Tensor]] = [
            {
                group: torch.zeros((slots, self.strips, self.inputs[group], len(names) * self.width), **zeros)
                for group, names in GROUPS.items()
            }
            for _ in range(config.layers)
        ]
        self.b: list[dict[str, Tensor]] = [
            {
                group: torch.zeros(
                    (slots, self.strips, len(self.part_of[group]), self.width, self.piece[group]), **zeros
                )
                for group in GROUPS
            }
            for _ in range(config.layers)
        ]
        # The same memory as rows, for `embedding_bag`.
        self.a_rows = [{g: table.view(-1, table.shape[-1]) for g, table in layer.items()} for layer in self.a]
        self.b_rows = [{g: table.view(-1, table.shape[-1]) for g, table in layer.items()} for layer in self.b]

    def _columns_of(self, parts: list[int]) -> Tensor | None:
        if parts == list(range(len(parts))):
            return None
        return torch.tensor([part * self.width + rank for part in parts for rank in range(self.width)])

    def strips_of(self, slot: int) -> range:
        """Return the strips of a slot's adapter, counted over all slots."""
        first = slot * self.strips
        return range(first, first + -(-self.rank[slot] // self.width))

    def tables(self, layer: int, group: str) -> list[Tensor]:
        """Return A and B of a group."""
        return [self.a[layer][group], self.b[layer][group]]

    def views(self, slot: int, rank: int, layer: int, group: str) -> list[Tensor]:
        """Return the first strips of a slot."""
        count = -(-rank // self.width)
        return [table[slot, :count] for table in self.tables(layer, group)]

    def pieces(self, adapter: Adapter, layer: int, group: str) -> list[Tensor]:
        """Return A (strips, in, parts x width) and B (strips, pieces, width, piece)."""
        count, width, shapes = -(-adapter.rank // self.width), self.width, self.config.projections()
        shrink = torch.zeros((len(GROUPS[group]), count * width, self.inputs[group]))
        grow = []
        for part, name in enumerate(GROUPS[group]):
            wide = torch.zeros((count * width, shapes[name][0]))
            if (layer, name) in adapter.a:
                shrink[part, : adapter.rank] = adapter.a[layer, name].float()
                wide[: adapter.rank] = adapter.b[layer, name].float().T * adapter.scale
            grow.append(wide.view(count, width, -1, self.piece[group]).transpose(1, 2))
        strips = shrink.view(-1, count, width, self.inputs[group]).permute(1, 3, 0, 2)
        return [strips.flatten(2), torch.cat(grow, dim=1)]

    def add_dense(self, slot: int, layer: int, group: str, weight: float, matrix: Tensor) -> None:
        """Add the slot's strips one after another, all pieces of a strip at once."""
        shrink, grow = (table[slot].float() for table in self.tables(layer, group))
        pieces = matrix.view(len(self.part_of[group]), self.piece[group], -1)
        for strip in range(-(-self.rank[slot] // self.width)):
            parts = shrink[strip].unflatten(1, (-1, self.width))[:, self.part_of[group]].permute(1, 2, 0)
            pieces.baddbmm_(grow[strip].transpose(1, 2), parts, alpha=weight)


class SlabStore(SlotStore):
    """Tables that the kernels read: A (slots, parts, rank_max, in) by group, B (slots, out, rank_max) by projection.

    Ranks above a slot's own are zero; `ranks` (slots,) int32 on the device bounds the kernels' loop.
    """

    def __init__(
        self, config: ModelConfig, slots: int, rank_max: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__(config, slots, rank_max, device, dtype)
        shapes = config.projections()
        zeros = {"dtype": dtype, "device": device}
        self.a: list[dict[str, Tensor]] = [
            {
                group: torch.zeros((slots, len(names), rank_max, shapes[names[0]][1]), **zeros)
                for group, names in GROUPS.items()
            }
            for _ in range(config.layers)
        ]
        self.b: list[dict[str, Tensor]] = [
            {name: torch.zeros((slots, out, rank_max), **zeros) for name, (out, _) in shapes.items()}
            for _ in range(config.layers)
        ]
        self.ranks = torch.zeros(slots, dtype=torch.int32, device=device)

    def tables(self, layer: int, group: str) -> list[Tensor]:
        """Return A of a group and B of its projections."""
        return [self.a[layer][group], *(self.b[layer][name] for name in GROUPS[group])]

    def views(self, slot: int, rank: int, layer: int, group: str) -> list[Tensor]:
        """Return the first ranks of a slot."""
        shrink, *grow = self.tables(layer, group)
        return [shrink[slot, :, :rank], *(table[slot, :, :rank] for table in grow)]

    def pieces(self, adapter: Adapter, layer: int, group: str) -> list[Tensor]:
        """Return A (parts, rank, in) and each projection's B (out, rank)."""
        shapes, shrink, grow = self.config.projections(), [], []
        for name in GROUPS[group]:
            out, inp = shapes[name]
            held = (layer, name) in adapter.a
            shrink.append(adapter.a[layer, name] if held else torch.zeros((adapter.rank, inp)))
            grow.append(
                adapter.b[layer, name].float() * adapter.scale if held else torch.zeros((out, adapter.rank))
            )
        return [torch.stack([a.float() for a in shrink]), *grow]

    def add_dense(self, slot: int, layer: int, group: str, weight: float, matrix: Tensor) -> None:
        """Add the product of the slot's matrices, projection by projection."""
        shrink, *grow = (table[slot].float() for table in self.tables(layer, group))
        outs = matrix.split([part.shape[0] for part in grow])
        for out, left, right in zip(outs, grow, shrink, strict=True):
            out.addmm_(left, right, alpha=weight)

    def write(self, slot: int, packed: Packed, source: Tensor | None = None) -> None:
        """Put an adapter into a slot and tell the kernels its rank."""
        super().write(slot, packed, source)
        self.ranks[slot].fill_(packed.rank)
