"""Names and budgets of the registry: no path in a name, no tenant in another's alias, no node filled with adapters."""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")

from safetensors.torch import load, save

from models.errors import InputError
from reference_node.adapters import pack_adapter, random_adapter, read_adapter
from reference_node.config import ModelConfig
from reference_node.registry import BudgetError, Budgets, NotOwnerError, Registry, UnknownModelError
from reference_node.registry.index import Alias, Index, Version

pytestmark = pytest.mark.node

SMALL = ModelConfig(
    vocab_size=256, hidden_size=64, layers=2, heads=4, kv_heads=2, head_dim=16, intermediate_size=96
)
TARGETS = ("q_proj", "v_proj")


@pytest.fixture
def registry(tmp_path):
    budgets = Budgets(
        upload_bytes=40_000, tenant_bytes=32_000, total_bytes=78_000, tenant_aliases=4, alias_versions=3
    )
    with Registry(tmp_path / "registry", SMALL, budgets=budgets) as made:
        yield made


def upload(
    registry: Registry, alias: str, seed: int = 1, tenant: str = "t", *, rank: int = 8, **options: Any
):
    weights, config_json = pack_adapter(random_adapter(SMALL, rank, seed, targets=TARGETS))
    return registry.upload(alias, weights, config_json, None, tenant, **options)


ALIASES = [
    "", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", "a\0b", "a\n", "\na", "A", "é", "a b", "a:b", "a@b", "-a",
    "_a", "%2e%2e", "a" * 65, "a@sha256:00000000", "base", "ａ", "a\u202e",
]  # fmt: skip


@pytest.mark.parametrize("alias", ALIASES, ids=ascii)
def test_aliases_that_could_be_paths_or_look_like_others_are_refused(registry, tmp_path, alias):
    with pytest.raises(InputError, match=r"choose another alias|is no alias; allowed 1 to 64 of a-z"):
        upload(registry, alias)
    assert not registry.listing()
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "blobs",
        "index.json",
        "lock",
        "registry",
        "tmp",
    ]


SHARED_INDEX = Index(
    {"law": Alias("t", 1, 2, (Version("law", 1, "ab" * 32, 0, "t", 1, 1, ("q_proj",), None),))}
)


@given(st.text(max_size=90))
def test_no_model_name_does_more_than_be_unknown(model):
    with pytest.raises(UnknownModelError) as caught:
        SHARED_INDEX.resolve(f"x{model}")
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("alias", ["a", "0", "a..b", "a" * 64, "law-eu_v1.2"])
def test_plain_aliases_are_accepted_and_no_file_is_named_after_them(registry, tmp_path, alias):
    upload(registry, alias)
    assert registry.resolve(alias).alias == alias
    assert not [path for path in tmp_path.rglob("*") if path.name == alias]


def test_adapter_bombing_is_limited_in_bytes_per_tenant_and_in_total(registry):
    size = upload(registry, "one").bytes
    upload(registry, "one", 2)
    assert 32_000 // size == 2
    with pytest.raises(
        BudgetError, match=f"{size} bytes more than the {2 * size} that the tenant stores; allowed 32000"
    ):
        upload(registry, "two", 3)
    with pytest.raises(BudgetError, match="that the tenant stores; allowed 100"):
        upload(registry, "three", 4, "poor", tenant_bytes=100)
    for seed, tenant in ((11, "u"), (12, "u"), (13, "v")):
        upload(registry, f"{tenant}{seed}", seed, tenant)
    with pytest.raises(
        BudgetError, match=f"{size} bytes more than the {5 * size} that the node stores; allowed 78000"
    ):
        upload(registry, "v14", 14, "v")
    with pytest.raises(BudgetError, match=r"upload of \d+ bytes; allowed 40000"):
        registry.upload("big", b"x" * 40_001, b"", None, "w")
    assert (
        registry.usage() == 5 * size == sum(path.stat().st_size for path in registry.root.glob("blobs/*/*"))
    )


def test_names_are_limited_too_and_a_deleted_alias_counts_as_one(registry):
    for number in range(4):
        upload(registry, f"a{number}")
        registry.delete(f"a{number}", tenant="t")
    with pytest.raises(BudgetError, match="tenant 't' has 4 aliases; allowed 4"):
        upload(registry, "a4")
    for rank in (1, 2, 3):
        upload(registry, "a0", rank=rank)
    with pytest.raises(BudgetError, match="alias 'a0' has 3 versions; allowed 3: delete old ones"):
        upload(registry, "a0", rank=4)


def test_identical_uploads_are_stored_once_and_count_for_each_tenant(registry):
    first = upload(registry, "mine")
    again = upload(registry, "mine")
    other = upload(registry, "theirs", tenant="u")
    second = upload(registry, "alias", tenant="u")
    assert (again.number, other.sha256, second.sha256) == (1, first.sha256, first.sha256)
    assert len(list(registry.root.glob("blobs/*"))) == 1
    assert [registry.usage(tenant) for tenant in ("t", "u", None)] == [first.bytes] * 3
    registry.delete("mine", tenant="t")
    assert [registry.usage(tenant) for tenant in ("t", "u", None)] == [0, first.bytes, first.bytes]
    assert read_adapter(registry.folder(first.sha256), SMALL).sha256 == first.sha256


def test_only_its_tenant_or_an_administrator_changes_an_alias_even_a_deleted_one(registry):
    made = upload(registry, "mine")
    for change in (
        lambda: upload(registry, "mine", 2, "thief"),
        lambda: registry.rollback("mine", made.sha256, tenant="thief"),
        lambda: registry.delete("mine", tenant="thief"),
        lambda: registry.delete("mine", made.sha256, tenant="thief"),
    ):
        with pytest.raises(NotOwnerError, match="alias 'mine' belongs to another tenant"):
            change()
    assert registry.resolve("mine").version == made
    assert upload(registry, "mine", 2, "root", admin=True).tenant == "t"
    assert registry.delete("mine", tenant="root", admin=True)
    with pytest.raises(NotOwnerError):
        upload(registry, "mine", 3, "thief")
    assert upload(registry, "mine", 3).number == 3


def test_nothing_of_an_upload_but_tensors_and_effective_settings_reaches_the_disk(registry):
    made = random_adapter(SMALL, 8, 1, targets=TARGETS)
    weights, config_json = pack_adapter(made)
    weights = save(load(weights), metadata={"secret": "smuggled"})
    origin = json.dumps(json.loads(config_json) | {"base_model_name_or_path": "smuggled"}).encode()
    assert (
        registry.upload("a", weights, origin, None, "t").sha256 == made.sha256 == upload(registry, "a").sha256
    )
    assert not [
        path for path in registry.root.rglob("*") if path.is_file() and b"smuggled" in path.read_bytes()
    ]
