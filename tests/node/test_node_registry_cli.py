"""`olsim node adapters`: a person makes, checks, adds, lists, rolls back and deletes adapters of a registry folder."""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")

from models.errors import InputError
from reference_node import tiny_base
from reference_node.adapters import random_adapter, save_adapter
from reference_node.commands.adapters import adapters_app
from reference_node.config import PRESETS
from reference_node.manifest import AdapterManifest, ContributorShare, DataNetShare, write_manifest
from reference_node.train import bundled_adapters

pytestmark = pytest.mark.node

OWNER, ANN = "0x" + "a" * 40, "0x" + "b" * 40


def run(*arguments: object) -> str:
    result = CliRunner().invoke(adapters_app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def run_json(*arguments: object) -> Any:
    return json.loads(run(*arguments, "--json"))


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "law", tmp_path / "law-2"]
    for seed, path in enumerate(paths):
        save_adapter(random_adapter(PRESETS["tiny"], 1, seed, targets=("q_proj",)), path)
    datanet = DataNetShare("cases", 10_000, (ContributorShare("ann", ANN, 10_000),))
    write_manifest(AdapterManifest(OWNER, (datanet,)), paths[0] / "manifest.json")
    return paths


def test_make_then_check_names_the_same_adapter(tmp_path):
    made = run("make", tmp_path / "a", "--rank", 2, "--seed", 3).strip()
    assert run_json("check", tmp_path / "a")["sha256"] == made
    assert f"sha256: {made}\nrank: 2\nalpha: 4.0\ntargets: q_proj, k_proj" in run("check", tmp_path / "a")
    assert "pays: nobody, no manifest" in run("check", tmp_path / "a", "--base", tiny_base.folder())
    with pytest.raises(
        InputError, match=r"base '7b' is unknown; allowed a transformers folder, or .*: tiny, 8b"
    ):
        run("check", tmp_path / "a", "--base", "7b")


def test_the_bundled_base_is_meant_unless_a_bench_shape_is_named(tmp_path):
    trained = run_json("check", bundled_adapters()["medicine"])
    assert trained["payees"][0]["part"] == "model"
    run("make", tmp_path / "a", "--base", "tiny", "--rank", 2)
    assert run_json("check", tmp_path / "a", "--preset", "tiny")["rank"] == 2
    with pytest.raises(InputError, match=r"is F32 \[2, 256\], expected .* \[2, 192\]"):
        run("check", tmp_path / "a")


def test_the_life_of_an_alias(folders, tmp_path):
    root = ("--registry", tmp_path / "registry")
    with pytest.raises(InputError, match=r"no registry in this folder(.|\n)*adding an adapter with --base"):
        run("add", folders[0], *root)
    first = run_json("add", folders[0], *root, "--base", "tiny", "--tenant", "acme")
    second = run_json("add", folders[1], *root, "--alias", "law")
    assert (first["alias"], first["version"], second["alias"], second["version"]) == ("law", 1, "law", 2)
    assert second["tenant"] == "acme"
    assert first["payees"] == [
        {"part": "model", "share": "1", "address": OWNER},
        {"part": "contributors", "share": "1", "address": ANN},
    ]
    shown = run("list", *root).splitlines()
    assert shown[1].split() == [
        "law",
        "2",
        second["sha256"][:12],
        "1",
        str(second["bytes"]),
        "acme",
        "unknown",
        "none",
    ]
    listed = run_json("list", *root)
    assert (listed["adapters"], listed["problems"]) == ([second], [])
    assert "law serves version 2; paid for it:\n  nobody: no manifest" in run("show", "law", *root)
    assert f"serves version 1, {first['sha256']}" in run("rollback", "law", first["sha256"][:8], *root)
    assert f"  model                   1  {OWNER}\n  contributors            1  {ANN}" in run(
        "show", "law", *root
    )
    assert run_json("show", "law", *root) == {"alias": "law", "serves": 1, "versions": [first, second]}
    assert run("delete", "law", *root, first["sha256"][:8]) == "deleted 1 of law; law serves version 2\n"
    assert run_json("delete", "law", *root) == {"deleted": [second], "serves": None}
    with pytest.raises(InputError, match="alias 'law' is unknown"):
        run("show", "law", *root)


def test_the_registry_may_come_from_the_environment_and_damage_is_said(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("OLSIM_REGISTRY", str(tmp_path / "registry"))
    made = run_json("add", folders[0], "--base", "tiny")
    (tmp_path / "registry" / "blobs" / made["sha256"] / "adapter_config.json").unlink()
    assert "damaged: law version 1: its adapter has" in run("list")
    assert len(run_json("list")["problems"]) == 1


def test_a_registry_for_a_checkpoint_folder_takes_its_shape(folders, tmp_path):
    shape = {
        "model_type": "llama", "hidden_act": "silu", "vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 24, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 64, "architectures": ["LlamaForCausalLM"],
    }  # fmt: skip
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text(json.dumps(shape))
    run("make", tmp_path / "small", "--base", tmp_path / "base")
    root = ("--registry", tmp_path / "r")
    assert run_json("add", tmp_path / "small", *root, "--base", tmp_path / "base")["version"] == 1
    with pytest.raises(InputError, match=r"lora_A.weight is F32 \[1, 256\], expected .* \[1, 16\]"):
        run("add", folders[0], *root)
    with pytest.raises(InputError, match="its adapters are for 1 layers of width 16"):
        run("add", folders[0], *root, "--base", "tiny")
