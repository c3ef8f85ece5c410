"""The registry against a plain model of it: any history of uploads, rollbacks and deletions, restarts included."""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")

from models.errors import InputError
from reference_node.adapters import pack_adapter, random_adapter, read_adapter, save_adapter
from reference_node.config import ModelConfig
from reference_node.manifest import AdapterManifest, write_manifest
from reference_node.registry import Registry, UnknownModelError, stored_base
from reference_node.registry.index import Alias, Index, Version

pytestmark = pytest.mark.node

SMALL = ModelConfig(
    vocab_size=256, hidden_size=16, layers=1, heads=2, kv_heads=1, head_dim=8, intermediate_size=24
)
ADAPTERS = [random_adapter(SMALL, 1 + seed % 3, seed, targets=("q_proj",)) for seed in range(6)]
FILES = [pack_adapter(adapter) for adapter in ADAPTERS]
OWNERS = [AdapterManifest("0x" + digit * 40).to_json() for digit in "ab"]


def add(
    registry: Registry, alias: str, which: int, tenant: str = "t", manifest: bytes | None = None
) -> Version:
    return registry.upload(alias, *FILES[which], manifest, tenant)


def on_disk(registry: Registry) -> set[str]:
    return {path.name for path in registry.root.glob("blobs/*")}


# A name means what was last said ----------------------------------------------------------------------------------

SHA = ["ab" * 4 + "0" * 56, "ab" * 4 + "1" * 56, "cd" * 32]
VERSIONS = tuple(
    Version("law", number, sha, 0, "t", 10, 1, ("q_proj",), None)
    for number, sha in enumerate([*SHA, SHA[0]], 1)
)
INDEX = Index({"law": Alias("t", 3, 5, VERSIONS), "gone": Alias("t", 0, 2)})
RESOLVED = [
    ("base", None),
    ("law", 3),
    ("law@sha256:" + SHA[0], 4),
    ("law@sha256:" + SHA[1][:9], 2),
    ("law@sha256:cdcdcdcd", 3),
    ("law@sha256:abababab", "fits 2 versions: abababab0+, abababab1+; say more"),
    ("law@sha256:ffffffff", "fits no version of law; it has abababab0000, abababab1111, cdcdcdcdcdcd"),
    ("law@sha256:cdcdcdc", "allowed 8 to 64 lower-case hexadecimal digits"),
    ("law@sha256:CDCDCDCD", "allowed 8 to 64 lower-case hexadecimal digits"),
    ("law@sha256:" + SHA[2] + "0", "allowed 8 to 64 lower-case hexadecimal digits"),
    ("law@sha256:", "allowed 8 to 64 lower-case hexadecimal digits"),
    ("law@sha1:cdcdcdcd", "is unknown"),
    ("lwa", "model 'lwa' is unknown; did you mean 'law'[?]"),
    ("bsae", "did you mean 'base'[?]"),
    ("Base", "did you mean 'base'[?]"),
    ("gone", "model 'gone' is unknown; the node serves 'base' and 1 adapters"),
    ("gone@sha256:cdcdcdcd", "is unknown"),
    ("base@sha256:cdcdcdcd", "is unknown"),
    ("", "model '' is unknown"),
    ("gpt-4o", "model 'gpt-4o' is unknown; the node serves 'base' and 1 adapters"),
]


@pytest.mark.parametrize(("model", "means"), RESOLVED, ids=[model or "nothing" for model, _ in RESOLVED])
def test_what_a_model_name_means(model, means):
    if isinstance(means, str):
        with pytest.raises(UnknownModelError, match=means):
            INDEX.resolve(model)
        return
    found = INDEX.resolve(model)
    assert (found.version and found.version.number, found.model) == (means, model)
    assert found.sha256 == (found.version and found.version.sha256)


def test_uploads_become_versions_and_a_restart_gives_the_same(tmp_path):
    ticks = iter(range(100, 200))
    with Registry(tmp_path, SMALL, "f" * 64, clock=lambda: next(ticks) + 0.5) as registry:
        first = add(registry, "law", 0)
        second = add(registry, "law", 1, manifest=OWNERS[0])
        third = add(registry, "law", 1, manifest=OWNERS[1])
        other = add(registry, "code", 0, "u")
        assert (first.number, first.sha256, first.created, first.rank) == (1, ADAPTERS[0].sha256, 100, 1)
        assert (second.number, third.number, third.sha256) == (2, 3, second.sha256)
        assert first.bytes == sum(map(len, FILES[0]))
        assert second.bytes == sum(map(len, FILES[1])) + len(OWNERS[0])
        assert registry.listing() == (other, third)
        assert add(registry, "law", 0) == first
        assert registry.resolve("law").version == first
        assert registry.resolve(f"law@sha256:{second.sha256[:8]}").version == third
        before = registry.listing(), registry.versions("law"), registry.usage("t"), registry.usage()
        with pytest.raises(InputError, match="another process writes to this registry"):
            Registry(tmp_path, SMALL)
    with Registry(tmp_path, *stored_base(tmp_path)) as again:
        assert before == (again.listing(), again.versions("law"), again.usage("t"), again.usage())
        assert again.base_sha256 == "f" * 64
        assert again.versions("law")[2].manifest.owner == "0x" + "b" * 40
        assert read_adapter(again.folder(first.sha256), SMALL).sha256 == first.sha256
        assert add(again, "law", 2).number == 4
    with pytest.raises(InputError, match="closed, or open for reading only"):
        again.rollback("law", first.sha256, tenant="t")


def test_rollback_and_deletion_choose_what_an_alias_serves(tmp_path):
    forgotten: list[str] = []
    with Registry(tmp_path, SMALL, on_delete=forgotten.append) as registry:
        one, two, three = (add(registry, "law", which) for which in range(3))
        assert registry.rollback("law", one.sha256[:8], tenant="t") == one
        assert registry.served("law") == one
        assert registry.rollback("law", two.sha256, tenant="t") == two
        assert registry.delete("law", two.sha256[:10], tenant="t") == (two,)
        assert registry.served("law") == one  # the newest before it, not the third that was rolled back from
        assert registry.delete("law", one.sha256, tenant="t") == (one,)
        assert registry.served("law") == three
        assert forgotten == [two.sha256, one.sha256]
        add(registry, "code", 2)
        assert registry.delete("law", tenant="t") == (three,)
        assert forgotten == [two.sha256, one.sha256]  # "code" still needs the third
        for question in (registry.versions, registry.resolve, registry.served):
            with pytest.raises(UnknownModelError, match="'law' is unknown"):
                question("law")
        assert add(registry, "law", 0).number == 4


def test_a_request_in_flight_keeps_its_bytes_and_no_new_one_gets_them(tmp_path):
    with Registry(tmp_path, SMALL) as registry:
        sha = add(registry, "law", 0).sha256
        assert [registry.hold("law").sha256, registry.hold(f"law@sha256:{sha}").sha256] == [sha, sha]
        assert registry.hold("base").sha256 is None
        registry.delete("law", tenant="t")
        with pytest.raises(UnknownModelError):
            registry.hold("law")
        registry.release(sha)
        registry.release(None)
        assert read_adapter(registry.folder(sha), SMALL).sha256 == sha
        assert registry.usage() == sum(map(len, FILES[0]))
        assert registry.usage("t") == 0
        registry.release(sha)
        assert on_disk(registry) == set()
        assert registry.usage() == 0


def test_an_upload_of_what_a_request_still_holds_stays_when_the_request_ends(tmp_path):
    with Registry(tmp_path, SMALL) as registry:
        sha = add(registry, "law", 0).sha256
        registry.hold("law")
        registry.delete("law", tenant="t")
        add(registry, "new", 0)
        registry.release(sha)
        assert on_disk(registry) == {sha}
        assert registry.resolve("new").sha256 == sha


def test_a_failing_callback_leaves_neither_the_version_nor_its_bytes(tmp_path):
    def fail(sha256: str) -> None:
        raise RuntimeError(sha256)

    with Registry(tmp_path, SMALL, on_delete=fail) as registry:
        sha = add(registry, "law", 0).sha256
        with pytest.raises(RuntimeError, match=sha):
            registry.delete("law", tenant="t")
        assert not registry.listing()
        assert on_disk(registry) == set()


@pytest.mark.parametrize(
    ("config", "base", "message"),
    [
        (SMALL, "e" * 64, f"its adapters are for base model {'f' * 64}, not for {'e' * 64}"),
        (replace(SMALL, hidden_size=32), "", "for 1 layers of width 16 .*, not for 1 layers of width 32"),
        (replace(SMALL, layers=2), "f" * 64, "not for 2 layers"),
    ],
    ids=["hash", "width", "layers"],
)
def test_a_registry_of_another_base_is_refused(tmp_path, config, base, message):
    Registry(tmp_path, SMALL, "f" * 64).close()
    with pytest.raises(InputError, match=message):
        Registry(tmp_path, config, base)
    Registry(tmp_path, replace(SMALL, rope_theta=5e5, vocab_size=300)).close()  # adapters fit all the same


def test_a_manifest_for_another_base_is_refused(tmp_path):
    manifest = AdapterManifest("0x" + "a" * 40, base_sha256="e" * 64).to_json()
    with Registry(tmp_path / "known", SMALL, "f" * 64) as registry:
        with pytest.raises(InputError, match=f"base_sha256: {'e' * 64} is not the base model of this node"):
            add(registry, "law", 0, manifest=manifest)
        assert on_disk(registry) == set()
    with Registry(tmp_path / "unknown", SMALL) as registry:
        assert add(registry, "law", 0, manifest=manifest).manifest.base_sha256 == "e" * 64


def test_a_folder_on_disk_is_adopted_with_its_manifest(tmp_path):
    save_adapter(ADAPTERS[3], tmp_path / "Law")
    with Registry(tmp_path / "registry", SMALL) as registry:
        bare = registry.adopt(tmp_path / "Law", alias="x")
        assert (bare.alias, bare.tenant, bare.manifest) == ("x", "local", None)
        write_manifest(
            AdapterManifest("0x" + "a" * 40, description="on law"), tmp_path / "Law" / "manifest.json"
        )
        found = registry.adopt(tmp_path / "Law", tenant="t")
        assert (found.alias, found.sha256, found.tenant) == ("law", ADAPTERS[3].sha256, "t")
        assert found.manifest.description == "on law"
        (tmp_path / "Law" / "manifest.json").write_text("{}")
        with pytest.raises(InputError, match="owner: is missing"):
            registry.adopt(tmp_path / "Law", tenant="t")
        with pytest.raises(InputError, match="cannot read the adapter's configuration"):
            registry.adopt(tmp_path / "nowhere")


# Any history ------------------------------------------------------------------------------------------------------

steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["upload", "upload", "rollback", "delete", "delete all", "hold", "release", "restart"]
        ),
        st.sampled_from(["law", "code"]),
        st.integers(0, 3),
        st.sampled_from([None, 0, 1]),
    ),
    max_size=25,
)


class Expected:
    """What the registry should hold: numbers, contents and owners per alias, and what is served."""

    def __init__(self) -> None:
        self.versions: dict[str, list[tuple[int, int, int | None]]] = {"law": [], "code": []}
        self.served, self.last = {"law": 0, "code": 0}, {"law": 0, "code": 0}
        self.held: list[int] = []

    def upload(self, alias: str, which: int, owner: int | None) -> None:
        same = [number for number, *rest in self.versions[alias] if rest == [which, owner]]
        if not same:
            self.last[alias] += 1
            self.versions[alias].append((self.last[alias], which, owner))
        self.served[alias] = same[-1] if same else self.last[alias]

    def delete(self, alias: str, which: int | None) -> None:
        kept = [version for version in self.versions[alias] if which not in (None, version[1])]
        numbers = [number for number, *_ in kept]
        if self.served[alias] not in numbers:
            below = [number for number in numbers if number < self.served[alias]]
            self.served[alias] = max(below or numbers or [0])
        self.versions[alias] = kept

    def hashes(self) -> set[str]:
        return {ADAPTERS[which].sha256 for versions in self.versions.values() for _, which, _ in versions}


def apply(registry: Registry, expected: Expected, step: tuple[str, str, int, Any]) -> None:
    action, alias, which, owner = step
    there = [version for version in expected.versions[alias] if version[1] == which]
    if action == "upload":
        add(registry, alias, which, manifest=None if owner is None else OWNERS[owner])
        expected.upload(alias, which, owner)
    elif action == "hold" and expected.versions[alias]:
        sha = registry.hold(alias).sha256
        expected.held += [i for i, adapter in enumerate(ADAPTERS) if adapter.sha256 == sha]
    elif action == "release" and expected.held:
        registry.release(ADAPTERS[expected.held.pop()].sha256)
    elif action == "rollback" and there:
        registry.rollback(alias, ADAPTERS[which].sha256[:16], tenant="t")
        expected.served[alias] = there[-1][0]
    elif action == "delete" and there:
        registry.delete(alias, ADAPTERS[which].sha256, tenant="t")
        expected.delete(alias, which)
    elif action == "delete all" and expected.versions[alias]:
        registry.delete(alias, tenant="t")
        expected.delete(alias, None)


def check(registry: Registry, expected: Expected) -> None:
    live = {alias: versions for alias, versions in expected.versions.items() if versions}
    assert {v.alias: v.number for v in registry.listing()} == {
        alias: expected.served[alias] for alias in live
    }
    for alias, versions in live.items():
        owners = [v.manifest and "ab".index(v.manifest.owner[2]) for v in registry.versions(alias)]
        shas = [v.sha256 for v in registry.versions(alias)]
        assert [v.number for v in registry.versions(alias)] == [number for number, *_ in versions]
        assert shas == [ADAPTERS[which].sha256 for _, which, _ in versions]
        assert owners == [owner for *_, owner in versions]
    manifests = {v.manifest_sha256 for alias in live for v in registry.versions(alias)} - {None}
    held = {ADAPTERS[which].sha256 for which in expected.held}
    assert on_disk(registry) == expected.hashes() | held | manifests
    assert registry.usage() == sum(path.stat().st_size for path in registry.root.glob("blobs/*/*"))
    assert not list(registry.root.glob("tmp/*"))
    assert not registry.problems


@settings(max_examples=40)
@given(steps)
def test_any_history_keeps_index_and_bytes_consistent(tmp_path_factory, history):
    root, expected = tmp_path_factory.mktemp("registry"), Expected()
    registry = Registry(root, SMALL)
    for step in [*history, ("restart", "law", 0, None)]:
        if step[0] == "restart":
            registry.close()
            registry = Registry(root, SMALL)
            expected.held.clear()
        apply(registry, expected, step)
        check(registry, expected)
    registry.close()


# Several threads --------------------------------------------------------------------------------------------------


def test_threads_that_upload_resolve_hold_and_delete_leave_a_consistent_registry(tmp_path):
    faults: list[BaseException] = []
    registry = Registry(tmp_path, SMALL)
    add(registry, "shared", 0)
    done = threading.Event()

    def guarded(work: Any) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                faults.append(error)

        return threading.Thread(target=run)

    def writer(number: int) -> None:
        for round_ in range(6):
            version = add(registry, f"own{number}", (number + round_) % 6)
            add(registry, "shared", round_ % 6)
            if round_ % 2:
                registry.delete(f"own{number}", version.sha256, tenant="t")

    def reader() -> None:
        while not done.is_set():
            for alias in ("shared", "own0", "own1"):
                try:
                    held = registry.hold(alias)
                except UnknownModelError:
                    continue
                assert read_adapter(registry.folder(held.sha256), SMALL).sha256 == held.sha256
                registry.release(held.sha256)

    writers = [guarded(lambda number=number: writer(number)) for number in range(3)]
    readers = [guarded(reader) for _ in range(2)]
    for thread in [*readers, *writers]:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert faults == []
    assert len(registry.versions("shared")) == 6
    named = {v.sha256 for v in registry.listing()} | {v.sha256 for v in registry.versions("shared")}
    named |= {v.sha256 for number in range(3) for v in registry.versions(f"own{number}")}
    assert on_disk(registry) == named
    before = registry.listing()
    registry.close()
    with Registry(tmp_path, SMALL) as again:
        assert again.listing() == before


def test_simultaneous_uploads_of_one_alias_give_it_to_one_tenant(tmp_path):
    with Registry(tmp_path, SMALL) as registry:
        barrier, made, refused = threading.Barrier(4), [], []

        def claim(tenant: str) -> None:
            barrier.wait()
            try:
                made.append(add(registry, "law", 0, tenant).tenant)
            except InputError as error:
                refused.append(str(error))

        threads = [threading.Thread(target=claim, args=(tenant,)) for tenant in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(made) == 1
        assert refused == ["alias 'law' belongs to another tenant; choose another alias"] * 3
        assert json.loads((tmp_path / "index.json").read_text())["aliases"]["law"]["tenant"] == made[0]
