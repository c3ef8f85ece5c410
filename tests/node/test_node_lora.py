"""Which adapter served which token: plans equal the formula and peft, in every mix, path and layout."""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")

from reference_node.adapters import TARGETS, Adapter, random_adapter
from reference_node.config import GROUPS, ModelConfig
from reference_node.lora import SEGMENT_TOKENS, LoraPlan
from reference_node.model import random_model
from reference_node.pool import AdapterPool
from reference_node.weights import load_model

pytestmark = [pytest.mark.node, pytest.mark.filterwarnings("ignore::FutureWarning")]

SMALL = ModelConfig(
    vocab_size=256, hidden_size=64, layers=2, heads=4, kv_heads=2, head_dim=16, intermediate_size=96
)
KINDS = [(4, TARGETS), (8, ("q_proj", "v_proj")), (16, TARGETS), (37, ("k_proj", "o_proj", "up_proj"))]
ADAPTERS = [
    random_adapter(SMALL, rank, i, targets=targets, gain=20.0) for i, (rank, targets) in enumerate(KINDS)
]
WAYS = [("strips", None), ("strips", "bags"), ("strips", "segments"), ("slabs", None)]


def filled_pool(
    layout: str = "strips", *, dtype: torch.dtype = torch.float32
) -> tuple[AdapterPool, list[int]]:
    pool = AdapterPool(SMALL, slots=6, rank_max=37, slabs=layout == "slabs", dtype=dtype)
    return pool, [pool.acquire(pool.add(adapter)) for adapter in ADAPTERS]


POOLS = {layout: filled_pool(layout) for layout in ("strips", "slabs")}


def update_of(adapter: Adapter, layer: int, group: str, x: torch.Tensor) -> torch.Tensor:
    """Return alpha / rank * B A x in float64, as the definition says."""
    parts = []
    for name in GROUPS[group]:
        if (layer, name) in adapter.a:
            a, b = adapter.a[layer, name].double(), adapter.b[layer, name].double()
            parts.append(adapter.scale * x.double() @ a.T @ b.T)
        else:
            parts.append(torch.zeros((len(x), SMALL.projections()[name][0]), dtype=torch.float64))
    return torch.cat(parts, dim=1)


def expected_of(rows: list, counts: list[int], layer: int, group: str, x: torch.Tensor) -> torch.Tensor:
    out, start = [], 0
    for row, count in zip(rows, counts, strict=True):
        piece = x[start : start + count]
        zero = update_of(ADAPTERS[0], layer, group, piece) * 0
        out.append(sum((weight * update_of(ADAPTERS[i], layer, group, piece) for i, weight in row), zero))
        start += count
    return torch.cat(out)


def inputs_of(group: str, tokens: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    shapes, generator = SMALL.projections(), torch.Generator().manual_seed(seed)
    out = sum(shapes[name][0] for name in GROUPS[group])
    x = torch.randn((tokens, shapes[GROUPS[group][0]][1]), generator=generator)
    return x, torch.randn((tokens, out), generator=generator)


uses = st.lists(
    st.tuples(st.integers(0, len(ADAPTERS) - 1), st.sampled_from([1.0, 1.0, 0.25, -2.0])),
    max_size=3,
    unique_by=lambda use: use[0],
)
batches = st.lists(st.tuples(uses, st.sampled_from([1, 1, 2, SEGMENT_TOKENS + 3])), min_size=1, max_size=8)


@pytest.mark.parametrize(("layout", "path"), WAYS)
@given(batch=batches, layer=st.integers(0, 1), group=st.sampled_from(list(GROUPS)))
def test_every_token_gets_the_weighted_sum_of_its_own_adapters(layout, path, batch, layer, group):
    rows, counts = [row for row, _ in batch], [count for _, count in batch]
    pool, slots = POOLS[layout]
    named = [[(slots[i], weight) for i, weight in row] for row in rows]
    plan = LoraPlan(pool, named, counts, path=path)
    x, y = inputs_of(group, sum(counts))
    before = y.clone()
    plan.add(layer, group, x, y)
    expected = expected_of(rows, counts, layer, group, x)
    assert torch.allclose(
        (y - before).double(), expected, rtol=0, atol=1e-5 * (1 + float(expected.abs().max()))
    )
    assert plan.active == sum(1 for row in rows if row)
    assert plan.distinct == len({i for row in rows for i, _ in row})
    bare = torch.tensor([not row for row, count in batch for _ in range(count)])
    assert torch.equal(y[bare], before[bare])


@pytest.mark.parametrize(("layout", "path"), WAYS)
def test_rows_without_adapter_are_bit_identical_to_the_base_and_others_are_not(layout, path):
    pool, slots = POOLS[layout]
    model = random_model(SMALL, 0, max_length=32)
    rows = [[], [(slots[0], 1.0)], [], [(slots[2], 1.0)], [(slots[1], 1.0)], []]
    tokens = torch.arange(6 * 20).view(6, 20)
    base = model.all_logits(tokens)
    mixed = model.all_logits(tokens, LoraPlan(pool, rows, [20] * 6, path=path))
    bare = torch.tensor([not row for row in rows])
    assert torch.equal(mixed[bare], base[bare])
    assert not torch.isclose(mixed[~bare], base[~bare]).all(dim=2).any()


@pytest.mark.parametrize(("layout", "path"), WAYS)
@pytest.mark.parametrize("count", [1, SEGMENT_TOKENS])
def test_a_nan_adapter_changes_no_neighbour(layout, path, count):
    pool = AdapterPool(SMALL, slots=3, rank_max=16, slabs=layout == "slabs")
    broken = {key: tensor * float("nan") for key, tensor in ADAPTERS[0].a.items()}
    poison = replace(ADAPTERS[0], sha256="0" * 64, a=broken)
    good, bad = (pool.acquire(pool.add(adapter)) for adapter in (ADAPTERS[2], poison))
    rows = [[(good, 1.0)], [(bad, 1.0)], [], [(good, 1.0)]]
    for group in GROUPS:
        x, y = inputs_of(group, 4 * count)
        alone = y.clone()
        LoraPlan(pool, rows, [count] * 4, path=path).add(0, group, x, y)
        LoraPlan(pool, [[(good, 1.0)], [], [], [(good, 1.0)]], [count] * 4, path=path).add(0, group, x, alone)
        sick = torch.arange(4 * count) // count == 1
        assert torch.isnan(y[sick]).all()
        assert torch.allclose(y[~sick], alone[~sick], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("layout", "path"), WAYS)
def test_a_slot_taken_over_keeps_nothing_of_its_last_adapter(layout, path):
    pool = AdapterPool(SMALL, slots=1, rank_max=37, slabs=layout == "slabs")
    for first, second in ((2, 1), (3, 0), (0, 3)):
        for which in (first, second):
            sha256 = pool.add(ADAPTERS[which])
            slot = pool.acquire(sha256)
            pool.release(sha256)
        for group in GROUPS:
            x, y = inputs_of(group, 2)
            before = y.clone()
            # Every group, as in a step whose other rows use it.
            plan = LoraPlan(pool, [[(slot, 1.0)], [(slot, 1.0)]], path=path)
            plan.add(1, group, x, y)
            expected = expected_of([[(second, 1.0)]] * 2, [1, 1], 1, group, x)
            assert torch.allclose((y - before).double(), expected, rtol=0, atol=1e-4)


def test_a_group_that_one_adapter_leaves_alone_is_zero_beside_one_that_uses_it():
    pool = AdapterPool(SMALL, slots=2, rank_max=16)
    for which in (2, 1):  # the slot of the narrow adapter held a wide one before
        sha256 = pool.add(ADAPTERS[which])
        slot = pool.acquire(sha256)
        if which == 2:
            pool.release(sha256)
            pool.pin(sha256)
            pool.unpin(sha256)
            pool.forget(sha256)
    wide = pool.acquire(pool.add(ADAPTERS[0]))
    x, y = inputs_of("down", 2)
    before = y.clone()
    LoraPlan(pool, [[(slot, 1.0)], [(wide, 1.0)]]).add(0, "down", x, y)
    assert torch.equal(y[0], before[0])
    assert not torch.equal(y[1], before[1])


@pytest.mark.parametrize("path", [None, "bags", "segments"])
def test_mixed_logits_and_ensembles_equal_peft(oracle, path):
    from peft import PeftModel

    model, _ = load_model(oracle.folder, max_length=64)
    pool = AdapterPool(model.config, slots=3, rank_max=16)
    slots = [pool.acquire(pool.register(folder)) for folder in oracle.adapters]
    rows = [[(slots[2], 1.0)], [], [(slots[0], 0.75), (slots[1], -0.5)], [(slots[1], 1.0)], [(slots[0], 1.0)]]
    names = ["2", None, "ensemble", "1", "0"]
    tokens = torch.randint(0, 512, (5, 12), generator=torch.Generator().manual_seed(9))
    found = model.all_logits(tokens, LoraPlan(pool, rows, [12] * 5, path=path))
    wrapped = PeftModel.from_pretrained(oracle.reference, oracle.adapters[0], adapter_name="0")
    for i in (1, 2):
        wrapped.load_adapter(oracle.adapters[i], adapter_name=str(i))
    wrapped.add_weighted_adapter(["0", "1"], [0.75, -0.5], "ensemble", combination_type="cat")
    wrapped.eval()
    with torch.no_grad():
        for row, name in enumerate(names):
            if name is None:
                with wrapped.disable_adapter():
                    expected = wrapped(tokens[row : row + 1]).logits[0]
            else:
                wrapped.set_adapter(name)
                expected = wrapped(tokens[row : row + 1]).logits[0]
            assert torch.allclose(found[row], expected, rtol=0, atol=3e-5 * float(expected.abs().max())), name
    wrapped.unload()


def test_thirty_two_rows_of_256_adapters_each_meet_their_own():
    tiny = ModelConfig(hidden_size=16, layers=1, heads=2, kv_heads=1, head_dim=8, intermediate_size=24)
    adapters = [random_adapter(tiny, 1 + i % 8, i, gain=50.0) for i in range(256)]
    pool = AdapterPool(tiny, slots=256, rank_max=8)
    slots = [pool.acquire(pool.add(adapter)) for adapter in adapters]
    picks = [(37 * row + 11) % 256 for row in range(32)]
    x = torch.randn((32, 16), generator=torch.Generator().manual_seed(0))
    y = torch.zeros(32, 16)
    LoraPlan(pool, [[(slots[pick], 1.0)] for pick in picks]).add(0, "o", x, y)
    for row, pick in enumerate(picks):
        adapter = adapters[pick]
        alone = adapter.scale * x[row] @ adapter.a[0, "o_proj"].T @ adapter.b[0, "o_proj"].T
        assert torch.allclose(y[row], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tokens", [SEGMENT_TOKENS - 1, SEGMENT_TOKENS])
def test_from_the_measured_crossover_on_an_adapters_tokens_are_one_product(tokens):
    pool, slots = POOLS["strips"]
    rows, counts = [[(slots[0], 1.0)], [(slots[2], 1.0)], [(slots[0], 1.0)]], [tokens - 1, 1, 1]
    strips = LoraPlan(pool, rows, counts)._applied
    product = tokens == SEGMENT_TOKENS
    assert (len(strips.segments), strips.bags) == (int(product), 1 if product else tokens + 1)


def test_a_plan_of_fixed_size_is_given_other_batches_in_the_same_tensors():
    pool, slots = POOLS["slabs"]
    plan = LoraPlan(pool, [[(slots[0], 1.0)], []], tokens_max=5, uses_max=2)
    x, y = inputs_of("qkv", 5)
    first = y.clone()
    plan.add(0, "qkv", x, first)
    assert torch.equal(first[1:], y[1:])
    addresses = plan._applied.slots.data_ptr(), plan._applied.weights.data_ptr()
    rows = [[(slots[1], 1.0)], [], [(slots[2], 0.5), (slots[0], 1.0)]]
    plan.update(rows)
    assert addresses == (plan._applied.slots.data_ptr(), plan._applied.weights.data_ptr())
    again, fresh = y.clone(), y[:3].clone()
    plan.add(0, "qkv", x, again)
    LoraPlan(pool, rows).add(0, "qkv", x[:3], fresh)
    assert torch.equal(again[:3], fresh)
    assert torch.equal(again[3:], y[3:])
    assert (plan.active, plan.distinct) == (2, 3)


@pytest.mark.parametrize("path", ["bags", "segments"])
def test_half_precision_pools_work_on_a_cpu(path):
    pool, slots = filled_pool(dtype=torch.bfloat16)
    x, y = (tensor.bfloat16() for tensor in inputs_of("qkv", 3))
    before = y.clone()
    LoraPlan(pool, [[(slot, 1.0)] for slot in slots[:3]], path=path).add(0, "qkv", x, y)
    expected = expected_of([[(i, 1.0)] for i in range(3)], [1] * 3, 0, "qkv", x)
    assert torch.allclose((y - before).double(), expected, rtol=0, atol=0.05 * float(expected.abs().max()))
