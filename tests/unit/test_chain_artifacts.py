"""Artifacts are what their sources give: by hash always, by compiling where Node.js is."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from models.errors import InputError
from sim.chain import artifacts

FOLDER = Path(artifacts.__file__).parent
ROOT = FOLDER.parents[1]
TWINS = ROOT / "tests" / "differential" / "contracts"
"""Contracts that tests hold formulas against; they are built from the deployed ones and never deployed."""
OWN = (
    "AttributionDistributor", "FeeSplitter", "GOPEN", "LogAnchor", "OPEN", "OpenGovernor", "Parameters",
    "Registry", "Staking", "Timelock", "TrancheVesting",
)  # fmt: skip


def test_every_contract_has_an_artifact_and_the_other_way_round():
    assert artifacts.names() == OWN == tuple(sorted(p.stem for p in artifacts.SOURCES.glob("*.sol")))


@pytest.mark.parametrize("name", OWN)
def test_an_artifact_is_built_from_the_sources_beside_it(name):
    assert artifacts.stale_sources(name) == []
    artifact = artifacts.load(name)
    assert f"{name}.sol" in artifact.sources
    assert artifact.settings["compiler"].startswith("0.8.37+")
    assert artifact.settings["evmVersion"] == "prague"
    assert (artifact.settings["optimizer"], artifact.settings["viaIR"]) == (
        {"enabled": True, "runs": 200},
        False,
    )
    assert artifact.deployed_code


def test_the_tests_own_contracts_are_built_from_the_deployed_sources():
    built = artifacts.names(TWINS / "artifacts")
    assert built == tuple(sorted(p.stem for p in TWINS.glob("*.sol")))
    for name in built:
        assert artifacts.stale_sources(name, TWINS / "artifacts", ROOT) == []
        sources = artifacts.load(name, TWINS / "artifacts").sources
        assert f"tests/differential/contracts/{name}.sol" in sources
        assert any(path.startswith("sim/chain/contracts/") for path in sources)


def test_a_part_belongs_to_a_contract():
    """Sources below contracts/ have no artifact of their own; each is in the import closure of one."""
    used = {path for name in OWN for path in artifacts.load(name).sources}
    parts = {p.relative_to(artifacts.SOURCES).as_posix() for p in artifacts.SOURCES.glob("parts/*.sol")}
    assert parts
    assert parts <= used


def test_an_edited_source_is_noticed(tmp_path):
    shutil.copytree(artifacts.SOURCES, tmp_path / "contracts")
    source = tmp_path / "contracts" / "OPEN.sol"
    source.write_text(source.read_text(encoding="utf-8").replace("32", "33"), encoding="utf-8")
    assert artifacts.stale_sources("OPEN", sources=tmp_path / "contracts") == ["OPEN.sol"]


def test_the_hash_over_all_artifacts_follows_every_one_of_them(tmp_path):
    shutil.copytree(artifacts.FOLDER, tmp_path / "artifacts")
    same = artifacts.artifacts_sha256(tmp_path / "artifacts")
    assert same == artifacts.artifacts_sha256()
    (tmp_path / "artifacts" / "OPEN.json").unlink()
    assert artifacts.artifacts_sha256(tmp_path / "artifacts") != same


def test_missing_and_broken_artifacts_are_one_clear_message(tmp_path):
    with pytest.raises(InputError, match=r"Nothing.json: compiled contract is missing; build it with"):
        artifacts.load("Nothing", tmp_path)
    (tmp_path / "Broken.json").write_text('{"abi": []', encoding="utf-8")
    with pytest.raises(InputError, match=r"Broken.json: not a compiled contract"):
        artifacts.load("Broken", tmp_path)


def test_the_lock_file_names_packages_and_no_host():
    lock = json.loads((FOLDER / "package-lock.json").read_text(encoding="utf-8"))
    text = json.dumps(lock["packages"])
    assert '"resolved"' not in text
    assert "registry" not in text
    assert lock["packages"][""]["devDependencies"] == {
        "@openzeppelin/contracts": "5.7.0",
        "@openzeppelin/merkle-tree": "1.0.8",
        "solc": "0.8.37",
    }


@pytest.mark.compile
@pytest.mark.slow
def test_compiling_the_sources_gives_the_same_artifacts(tmp_path):
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("Node.js and npm are not installed")
    room = tmp_path / "sim" / "chain"
    room.mkdir(parents=True)
    for name in ("package.json", "package-lock.json", "build.mjs"):
        shutil.copy(FOLDER / name, room)
    shutil.copytree(FOLDER / "contracts", room / "contracts")
    twins = tmp_path / TWINS.relative_to(ROOT)
    shutil.copytree(TWINS, twins, ignore=shutil.ignore_patterns("artifacts"))
    installed = subprocess.run([npm, "ci"], cwd=room, capture_output=True, text=True, check=False)
    if installed.returncode != 0:
        pytest.skip(f"npm ci failed: {installed.stderr.strip().splitlines()[-1:]}")
    subprocess.run([node, "build.mjs"], cwd=room, check=True, capture_output=True)
    for built, committed in (
        (room / "artifacts", artifacts.FOLDER),
        (twins / "artifacts", TWINS / "artifacts"),
    ):
        assert {path.name: path.read_bytes() for path in built.glob("*.json")} == {
            path.name: path.read_bytes() for path in committed.glob("*.json")
        }
    library = room / "node_modules"
    for name in OWN:
        for path, digest in artifacts.load(name).sources.items():
            if path.startswith("@"):
                assert hashlib.sha256((library / path).read_bytes()).hexdigest() == digest
