"""The bridge's contracts are the published ones: by hash always, by extracting them anew where npm is."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from sim.chain.artifacts import FOLDER, OP_STACK, common_abi, load, names

TOOL = FOLDER.parent / "op_stack"
CONTRACTS = (
    "L1Block", "L1CrossDomainMessenger", "L1StandardBridge", "L2CrossDomainMessenger", "L2OutputOracle",
    "L2StandardBridge", "L2ToL1MessagePasser", "OptimismMintableERC20", "OptimismMintableERC20Factory",
    "OptimismPortal", "Proxy", "SuperchainConfig", "SystemConfig",
)  # fmt: skip
PACKAGE = "@eth-optimism/contracts-bedrock"


def test_the_subset_is_complete_and_says_where_it_comes_from():
    assert names(OP_STACK) == CONTRACTS
    for name in CONTRACTS:
        told = json.loads((OP_STACK / f"{name}.json").read_text(encoding="utf-8"))["package"]
        assert (told["name"], told["version"]) == (PACKAGE, "0.17.3")
        assert told["file"] == f"forge-artifacts/{name}.sol/{name}.json"
        assert len(bytes.fromhex(told["sha256"])) == 32
        artifact = load(name, OP_STACK)
        assert artifact.settings["compiler"] == "0.8.15+commit.e14f2714"
        assert artifact.settings["optimizer"] == {"enabled": True, "runs": 999_999}
        assert artifact.deployed_code[-64:] in artifact.creation_code
        assert any(path.startswith("src/") for path in artifact.sources)


def test_licence_and_notice_lie_beside_it():
    assert "MIT License" in (OP_STACK / "LICENSE").read_text(encoding="utf-8")
    notice = (OP_STACK / "NOTICE").read_text(encoding="utf-8")
    lock = json.loads((TOOL / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert lock[f"node_modules/{PACKAGE}"]["integrity"] in notice
    assert lock[""]["devDependencies"] == {PACKAGE: "0.17.3"}
    assert '"resolved"' not in json.dumps(lock)
    for part in (PACKAGE, "0.17.3", "Optimism", "OpenZeppelin", "Offchain Labs", "Apache"):
        assert part in notice


def test_its_events_and_errors_are_decoded_with_the_others():
    pytest.importorskip("eth_hash")
    events = {item.name for item in common_abi().events.values()}
    assert events >= {
        "TransactionDeposited",
        "MessagePassed",
        "OutputProposed",
        "WithdrawalProven",
        "VoteCast",
    }
    errors = {item.name for item in common_abi().errors.values()}
    assert errors >= {"SmallGasLimit", "BadTarget", "CallPaused", "ERC20InsufficientBalance"}


@pytest.mark.compile
@pytest.mark.slow
def test_extracting_them_anew_gives_the_same_bytes(tmp_path):
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("Node.js and npm are not installed")
    for name in (".npmrc", "package.json", "package-lock.json", "extract.mjs"):
        shutil.copy(TOOL / name, tmp_path)
    installed = subprocess.run([npm, "ci"], cwd=tmp_path, capture_output=True, text=True, check=False)
    if installed.returncode != 0:
        pytest.skip(f"npm ci failed: {installed.stderr.strip().splitlines()[-1:]}")
    out = tmp_path / "out"
    subprocess.run([node, "extract.mjs", "--out", str(out)], cwd=tmp_path, check=True, capture_output=True)
    extracted = {path.name: path.read_bytes() for path in out.iterdir()}
    committed = {path.name: path.read_bytes() for path in OP_STACK.iterdir() if path.name != "NOTICE"}
    assert extracted == committed
