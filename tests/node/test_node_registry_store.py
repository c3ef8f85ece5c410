"""What survives on disk: a process killed at any moment, an index lost, bytes changed behind the registry's back."""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")

from models.errors import InputError
from reference_node.adapters import WEIGHTS_FILE, pack_adapter, random_adapter, read_adapter
from reference_node.config import ModelConfig
from reference_node.manifest import MANIFEST_FILE, AdapterManifest
from reference_node.registry import Registry, UnknownModelError, stored_base

pytestmark = pytest.mark.node

SMALL = ModelConfig(
    vocab_size=256, hidden_size=16, layers=1, heads=2, kv_heads=1, head_dim=8, intermediate_size=24
)
ADAPTERS = [random_adapter(SMALL, 1 + seed, seed, targets=("q_proj",)) for seed in range(3)]
OWNER = AdapterManifest("0x" + "a" * 40).to_json()


class KilledError(BaseException):
    """Stands for the end of the process: nothing that the code does about it takes effect."""


def kill_at(monkeypatch: pytest.MonkeyPatch, call: int) -> Callable[[], int]:
    """End the process at the n-th step that reaches the disk, before it happens; return the counter of steps."""
    real_replace, real_sync, seen = os.replace, os.fsync, [0]

    def step(work: Callable[..., None], *arguments: object) -> None:
        if seen[0] == call:
            monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
            monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
            seen[0] += 1
        if seen[0] > call:
            raise KilledError
        seen[0] += 1
        work(*arguments)

    monkeypatch.setattr(os, "replace", lambda *paths: step(real_replace, *paths))
    monkeypatch.setattr(os, "fsync", lambda descriptor: step(real_sync, descriptor))
    return lambda: seen[0]


def upload(registry: Registry, alias: str, which: int, manifest: bytes | None = None):
    return registry.upload(alias, *pack_adapter(ADAPTERS[which]), manifest, "t")


CHANGES = {
    "upload": lambda registry: upload(registry, "law", 2, OWNER),
    "first upload of an alias": lambda registry: upload(registry, "code", 2),
    "upload of known bytes": lambda registry: upload(registry, "code", 0),
    "rollback": lambda registry: registry.rollback("law", ADAPTERS[0].sha256, tenant="t"),
    "delete a version": lambda registry: registry.delete("law", ADAPTERS[1].sha256, tenant="t"),
    "delete an alias": lambda registry: registry.delete("law", tenant="t"),
}


def state(registry: Registry) -> tuple:
    return registry.listing(), tuple(registry.versions("law")) if registry.listing() else ()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_kill_at_any_step_leaves_the_state_before_or_after_and_nothing_else(tmp_path, monkeypatch, change):
    source = tmp_path / "before"
    with Registry(source, SMALL) as registry:
        upload(registry, "law", 0)
        upload(registry, "law", 1)
        before = state(registry)
    shutil.copytree(source, tmp_path / "after")
    with Registry(tmp_path / "after", SMALL, clock=lambda: 1e9) as registry:
        change(registry)
        after = state(registry)
    call, outcomes = 0, []
    while True:
        root = tmp_path / str(call)
        shutil.copytree(source, root)
        registry = Registry(root, SMALL, clock=lambda: 1e9)
        with monkeypatch.context() as patched:
            kill_at(patched, call)
            try:
                change(registry)
                killed = False
            except KilledError:
                killed = True
        registry.close()
        with Registry(root, SMALL) as again:
            outcomes.append(state(again))
            named = {v.sha256 for v in again.versions("law")} if again.listing() else set()
            named |= {name for v in again.listing() for name in (v.sha256, v.manifest_sha256) if name}
            assert {path.name for path in root.glob("blobs/*")} == named
            assert not list(root.glob("tmp/*"))
            assert not again.problems
            assert all(
                read_adapter(again.folder(v.sha256), SMALL).sha256 == v.sha256 for v in again.listing()
            )
        if not killed:
            break
        call += 1
    assert call >= 3
    assert outcomes[0] == before != outcomes[-1] == after
    switch = outcomes.index(after)
    assert outcomes == [before] * switch + [after] * (len(outcomes) - switch)


@pytest.mark.parametrize("failing", ["replace", "fsync"])
def test_a_full_disk_refuses_the_upload_and_the_registry_goes_on(tmp_path, monkeypatch, failing):
    with Registry(tmp_path, SMALL) as registry:
        upload(registry, "law", 0)
        before = state(registry), registry.usage()

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, failing, full)
            with pytest.raises(OSError, match="No space left"):
                upload(registry, "law", 1)
        assert (state(registry), registry.usage()) == before
        assert not list(tmp_path.glob("tmp/*"))
        assert len(list(tmp_path.glob("blobs/*"))) == 1
        assert upload(registry, "law", 1).number == 2


def test_a_lost_or_unreadable_index_is_never_taken_for_an_empty_one(tmp_path):
    with Registry(tmp_path, SMALL) as registry:
        upload(registry, "law", 0)
    whole = (tmp_path / "index.json").read_bytes()
    for damaged, message in (
        (None, "the index is missing although 1 objects lie here"),
        (whole[:100], "cannot read the registry's index"),
        (b"[]", "schema None of the index; allowed 1"),
        (whole.replace(b'"schema": 1', b'"schema": 2'), "schema 2 of the index; allowed 1"),
        (whole.replace(b'"rank"', b'"rnak"'), "the index lacks what the registry wrote: KeyError"),
        (whole.replace(b'"model"', b'"modle"'), "the index names no base model of a known shape"),
    ):
        (tmp_path / "index.json").unlink()
        if damaged is not None:
            (tmp_path / "index.json").write_bytes(damaged)
        with pytest.raises(InputError, match=message):
            Registry(tmp_path, SMALL)
        assert len(list(tmp_path.glob("blobs/*"))) == 1
        (tmp_path / "index.json").write_bytes(whole)
    with Registry(tmp_path, SMALL) as registry:
        assert registry.resolve("law").sha256 == ADAPTERS[0].sha256


def lose(folder: Path) -> None:
    shutil.rmtree(folder)


def cut(folder: Path) -> None:
    path = folder / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(("harm", "size"), [(lose, 0), (cut, None)], ids=["lost", "cut"])
def test_a_damaged_adapter_is_said_never_served_and_healed_by_an_upload(tmp_path, harm, size):
    with Registry(tmp_path, SMALL) as registry:
        good, bad = upload(registry, "good", 0), upload(registry, "bad", 1)
        harm(registry.folder(bad.sha256))
    with Registry(tmp_path, SMALL) as registry:
        found = bad.bytes - 1 if size is None else size
        fault = f"its adapter has {found} bytes on disk, not {bad.bytes}"
        assert registry.problems == (f"bad version 1: {fault}",)
        assert registry.listing() == (bad, good)
        for question in (registry.resolve, registry.hold):
            with pytest.raises(
                UnknownModelError, match=f"model 'bad' cannot be served: {fault}; upload it again"
            ):
                question("bad")
        assert registry.resolve("good").version == good
        assert upload(registry, "bad", 1) == bad
        assert registry.resolve("bad").version == bad
        assert registry.problems == ()
    with Registry(tmp_path, SMALL) as registry:
        assert read_adapter(registry.folder(bad.sha256), SMALL).sha256 == bad.sha256


@pytest.mark.parametrize("owner", ["b", None], ids=["another owner", "lost"])
def test_a_changed_manifest_pays_nobody(tmp_path, owner):
    with Registry(tmp_path, SMALL) as registry:
        made = upload(registry, "law", 0, OWNER)
        path = registry.folder(made.manifest_sha256) / MANIFEST_FILE
    path.write_bytes(OWNER.replace(b"a" * 40, owner.encode() * 40)) if owner else path.unlink()
    for _ in range(2):
        with Registry(tmp_path, SMALL) as registry:
            with pytest.raises(UnknownModelError, match=r"its manifest (is not the one|cannot be read)"):
                registry.resolve("law")
            assert registry.listing()[0].manifest is None
    with Registry(tmp_path, SMALL) as registry:
        upload(registry, "law", 0, OWNER)
    with Registry(tmp_path, SMALL) as registry:
        assert registry.resolve("law").version.manifest.owner == "0x" + "a" * 40


def test_a_reader_beside_the_writer_sees_what_is_written_and_changes_nothing(tmp_path):
    with pytest.raises(InputError, match="no registry in this folder"):
        Registry(tmp_path, SMALL, writable=False)
    assert not list(tmp_path.iterdir())
    with Registry(tmp_path, SMALL) as writer:
        made = upload(writer, "law", 0)
        (tmp_path / "tmp" / "half").mkdir()
        with Registry(tmp_path, *stored_base(tmp_path), writable=False) as reader:
            assert reader.listing() == (made,)
            for change in (
                lambda: upload(reader, "law", 1),
                lambda: upload(reader, "law", 0),
                lambda: reader.rollback("law", made.sha256, tenant="t"),
                lambda: reader.delete("law", tenant="t"),
            ):
                with pytest.raises(InputError, match="closed, or open for reading only"):
                    change()
            assert reader.listing() == (made,)
        assert (tmp_path / "tmp" / "half").is_dir()
        assert writer.listing() == (made,)


def test_a_folder_that_cannot_be_a_registry_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be used as a registry"):
        Registry(tmp_path / "file", SMALL)
