"""Kernels against the plain torch reference on seeded random cases: what the tests and the accelerator run compare.

A case is drawn from its seed alone, so a failure is repeated by its number. The yardstick is the reference on float32
copies of the inputs; the error is ||out - want|| / ||want||, which NaN never passes. Limits: float32 arithmetic lands
below 1e-5, bfloat16 outputs are rounded to 2^-9 each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reference_node import kernels
from reference_node.kernels import reference

LIMITS = {torch.float32: 1e-5, torch.bfloat16: 8e-3}


@dataclass(frozen=True, slots=True)
class LoraCase:
    """One call of `lora_add`.

    Parameters
    ----------
    seed
        Of all values.
    tokens, in_width, outs
        Rows, input width, width of each part.
    rank_max, ranks
        The pool's rank and the true rank of each slot.
    picks
        Slots by row and use: `distinct`, `one`, `mixed` (some rows and uses without), `none`.
    uses
        Adapters per row at most.
    dtype
        Of x, y and the matrices.
    """

    seed: int
    tokens: int
    in_width: int
    outs: tuple[int, ...]
    rank_max: int
    ranks: tuple[int, ...]
    picks: str = "mixed"
    uses: int = 1
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True, slots=True)
class AttendCase:
    """One call of `paged_decode`: `lengths` tokens per row, blocks dealt out in random order."""

    seed: int
    lengths: tuple[int, ...]
    heads: int
    kv_heads: int
    size: int
    block_size: int = 16
    window: int | None = None
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True, slots=True)
class LoraInputs:
    """Tensors of a case, in the order in which `lora_add` takes them."""

    x: Tensor
    y: Tensor
    a: Tensor
    b: list[Tensor]
    slots: Tensor
    weights: Tensor
    ranks: Tensor


def lora_inputs(case: LoraCase, device: str) -> LoraInputs:
    """Draw a case's tensors; above each slot's true rank the matrices hold NaN, which nobody may read."""
    random = torch.Generator().manual_seed(case.seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random).to(device, case.dtype)

    count, parts = len(case.ranks), len(case.outs)
    a = normal(count, parts, case.rank_max, case.in_width) / case.in_width**0.5
    b = [normal(count, out, case.rank_max) for out in case.outs]
    for slot, rank in enumerate(case.ranks):
        a[slot, :, rank:] = float("nan")
        for matrix in b:
            matrix[slot, :, rank:] = float("nan")
    slots = torch.from_numpy(_pick_slots(case)).to(device)
    weights = torch.rand((case.tokens, case.uses), generator=random).add(0.5).to(device)
    ranks = torch.tensor(case.ranks, dtype=torch.int32, device=device)
    x, y = normal(case.tokens, case.in_width), normal(case.tokens, sum(case.outs))
    return LoraInputs(x, y, a, b, slots, weights, ranks)


def lora_error(case: LoraCase, device: str, *, tiled: bool = False, tuning: object = None) -> float:
    """Return the error of one case, infinite where a row without adapters lost a bit."""
    i = lora_inputs(case, device)
    before, want = i.y.clone(), i.y.float().clone()
    reference.lora_add(i.x.float(), want, i.a.float(), [m.float() for m in i.b], i.slots, i.weights, i.ranks)
    tiles = kernels.make_tiles(i.slots.cpu().numpy(), i.x.device) if tiled else None
    kernels.lora_add(i.x, i.y, i.a, i.b, i.slots, i.weights, i.ranks, tiles=tiles, tuning=tuning)
    bare = (i.slots < 0).all(dim=1)
    return relative_error(i.y, want) if torch.equal(i.y[bare], before[bare]) else float("inf")


def attend_inputs(case: AttendCase, device: str) -> tuple[Tensor, ...]:
    """Draw q, keys, values, block tables and lengths; unused cache entries hold NaN, which nobody may read."""
    random = torch.Generator().manual_seed(case.seed)
    blocks_of = [-(-length // case.block_size) for length in case.lengths]
    total = sum(blocks_of) + 2
    order = torch.randperm(total - 1, generator=random).add(1).tolist()
    shape = (total, case.block_size, case.kv_heads, case.size)
    k, v = (torch.full(shape, float("nan")) for _ in range(2))
    tables = torch.zeros((len(case.lengths), max(*blocks_of, 1) + 1), dtype=torch.int32)
    for row, length in enumerate(case.lengths):
        mine = [order.pop() for _ in range(blocks_of[row])]
        tables[row, : len(mine)] = torch.tensor(mine, dtype=torch.int32)
        for position in range(length):
            block, offset = mine[position // case.block_size], position % case.block_size
            for store in (k, v):
                store[block, offset] = torch.randn((case.kv_heads, case.size), generator=random)
    q = torch.randn((len(case.lengths), case.heads, case.size), generator=random)
    lengths = torch.tensor(case.lengths, dtype=torch.int32)
    return (*(t.to(device, case.dtype) for t in (q, k, v)), tables.to(device), lengths.to(device))


def attend_error(case: AttendCase, device: str) -> float:
    """Return the error of one case."""
    q, k, v, tables, lengths = attend_inputs(case, device)
    scale = case.size**-0.5
    want = reference.paged_decode(q.float(), k.float(), v.float(), tables, lengths, scale, case.window)
    return relative_error(kernels.paged_decode(q, k, v, tables, lengths, scale, case.window), want)


def fused_error(name: str, seed: int, dtype: torch.dtype, device: str) -> float:
    """Return the error of one random call of `add_rms`, `rope_store` or `silu_mul` (shapes drawn from the seed)."""
    draw, random = np.random.default_rng(seed), torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random).to(device, dtype)

    tokens = int(draw.integers(1, 7))
    if name == "rope_store":
        return _rope_error(draw, normal, tokens, random, device)
    width = int(draw.integers(3, 700))
    if name == "silu_mul":
        gate_up = normal(tokens, 2 * width)
        return relative_error(kernels.silu_mul(gate_up), reference.silu_mul(gate_up))
    x, weight, delta = normal(tokens, width), normal(width), normal(tokens, width) if seed % 2 else None
    pairs = zip(
        kernels.add_rms(x, delta, weight, 1e-5), reference.add_rms(x, delta, weight, 1e-5), strict=True
    )
    return max(relative_error(got, want) for got, want in pairs)


def linear_error(seed: int, dtype: torch.dtype, device: str) -> float:
    """Return the error of one random linear layer of one to sixteen rows, with a bias at odd seeds."""
    from reference_node.kernels.few_rows import LinearTuning, linear

    draw, random = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    rows, inner, width = (int(draw.integers(1, high)) for high in (17, 700, 300))

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random).to(device, dtype)

    x, w, bias = normal(rows, inner), normal(width, inner), normal(width) if seed % 2 else None
    got = linear(x, w, bias, LinearTuning(rows_max=16))
    wide = torch.nn.functional.linear(x.double(), w.double(), None if bias is None else bias.double())
    return relative_error(got, wide)


def relative_error(got: Tensor, want: Tensor) -> float:
    """Return ||got - want|| / ||want||, infinite for NaN."""
    error = float((got.double() - want.double()).norm() / want.double().norm().clamp_min(1e-30))
    return error if error == error else float("inf")


def random_lora_case(seed: int, dtype: torch.dtype, *, widest: int = 400) -> LoraCase:
    """Draw a case: shapes need not be multiples of anything."""
    draw = np.random.default_rng(seed)
    rank_max = int(draw.choice([4, 8, 16, 24, 64]))
    ranks = tuple(int(r) for r in draw.integers(1, rank_max + 1, int(draw.integers(1, 9))))
    outs = tuple(int(w) for w in draw.integers(2, widest, int(draw.integers(1, 4))))
    return LoraCase(
        seed=seed,
        tokens=int(draw.integers(1, 40)),
        in_width=int(draw.integers(2, widest)),
        outs=outs,
        rank_max=rank_max,
        ranks=ranks,
        picks=str(draw.choice(["distinct", "one", "mixed", "mixed", "none"])),
        uses=int(draw.choice([1, 1, 2, 3])),
        dtype=dtype,
    )


def random_attend_case(seed: int, dtype: torch.dtype, *, longest: int = 200) -> AttendCase:
    """Draw a case of ragged lengths, one-token contexts included."""
    draw = np.random.default_rng(seed)
    kv_heads, group = int(draw.integers(1, 4)), int(draw.choice([1, 4, 8]))
    return AttendCase(
        seed=seed,
        lengths=(1, *(int(n) for n in draw.integers(1, longest, int(draw.integers(1, 5))))),
        heads=kv_heads * group,
        kv_heads=kv_heads,
        size=int(draw.choice([16, 32, 40, 64, 128])),
        block_size=int(draw.choice([8, 16, 32])),
        window=None if draw.random() < 0.5 else int(draw.integers(1, longest)),
        dtype=dtype,
    )


def _pick_slots(case: LoraCase) -> np.ndarray:
    draw, count = np.random.default_rng(case.seed), len(case.ranks)
    shape = (case.tokens, case.uses)
    if case.picks == "none":
        return np.full(shape, -1, dtype=np.int32)
    if case.picks == "one":
        return np.zeros(shape, dtype=np.int32)
    # Uses of one row take different slots where there are enough.
    dealt = (np.arange(case.tokens)[:, None] + np.arange(case.uses)) % count
    if case.picks == "mixed":
        dealt = np.where(draw.random(shape) < 0.3, -1, draw.permutation(count)[dealt])
    return dealt.astype(np.int32)


def _rope_error(
    draw: np.random.Generator,
    normal: Callable[..., Tensor],
    tokens: int,
    random: torch.Generator,
    device: str,
) -> float:
    heads, kv_heads, size = int(draw.integers(1, 5)), int(draw.integers(1, 3)), int(draw.choice([8, 20, 64]))
    qkv, stores = (
        normal(tokens, (heads + 2 * kv_heads) * size),
        [normal(5, 4, kv_heads, size) for _ in range(2)],
    )
    angle = torch.rand((9, size), generator=random).to(device)
    positions = torch.randint(0, 9, (tokens,), generator=random).to(device)
    mapping = torch.randperm(20, generator=random)[:tokens].to(device)
    results = []
    for module in (kernels, reference):
        k, v = (store.clone() for store in stores)
        q = module.rope_store(qkv, angle.cos(), angle.sin(), positions, k, v, mapping)
        results.append((q, k, v))
    return max(relative_error(got, want) for got, want in zip(*results, strict=True))
