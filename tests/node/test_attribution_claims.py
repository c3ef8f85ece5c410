"""Payout proofs across languages: Python, the npm package, the node's own JavaScript, and the contract."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cbor2", reason="needs the node extra (cbor2)")
pytest.importorskip("eth", reason="needs the chain extra (py-evm)")

import reference_node
from models.merkle import payout_leaf, payout_tree, verify_payout
from reference_node.billing import close_epoch
from reference_node.billing.claim import claim_call
from reference_node.billing.hashes import keccak
from reference_node.billing.served import Influence
from sim.chain.addresses import address_of
from sim.chain.clients.distributor import Distributor, Posted
from sim.chain.demo import day0_timestamp
from sim.chain.evm import Chain
from tests.node.billing_world import LAW, adapter, open_log, request

NODE = shutil.which("node")
ROOT = Path(__file__).resolve().parents[2]
CLAIMS_JS = Path(reference_node.__file__).parent / "js" / "claims.js"
PACKAGES = ROOT / "sim" / "chain"
POSTER = address_of("poster")
pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(NODE is None, reason="Node.js is not installed"),
    pytest.mark.skipif(
        not (PACKAGES / "node_modules" / "@openzeppelin" / "merkle-tree").is_dir(),
        reason="the npm packages of sim/chain are not installed (npm ci)",
    ),
]

PROGRAM = """
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
const { claimOf, claimCall, verifyClaim } = await import(process.argv[1]);
const require = createRequire(process.argv[2]);
const { StandardMerkleTree } = require("@openzeppelin/merkle-tree");
const { keccak256 } = require("ethereum-cryptography/keccak");
const settlement = JSON.parse(readFileSync(process.argv[3], "utf8"));
const types = ["address", "uint256"];
const rows = settlement.payees.map((payee) => [payee.address, payee.cumulative_wei]);
const tree = StandardMerkleTree.of(rows, types);
const claims = settlement.payees.map((payee) => claimOf(settlement, payee.address));
const refused = [];
try { claimOf(settlement, "0x" + "9".repeat(40)); } catch (error) { refused.push(error.message); }
console.log(JSON.stringify({
  root: tree.root,
  proofs: rows.map((row, i) => tree.getProof(i)),
  package: claims.map((c) => StandardMerkleTree.verify(c.root, types, [c.address, String(c.cumulativeWei)], c.proof)),
  own: claims.map((c) => verifyClaim(c, keccak256)),
  more: claims.map((c) => verifyClaim({ ...c, cumulativeWei: c.cumulativeWei + 1n }, keccak256)),
  calls: claims.map(claimCall),
  refused,
}));
"""


def javascript(settlement: Path) -> dict[str, Any]:
    command = [str(NODE), "--input-type=module", "--eval", PROGRAM]
    command += [CLAIMS_JS.as_uri(), str(PACKAGES / "package.json"), str(settlement)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return dict(json.loads(done.stdout))


@pytest.fixture
def settled(tmp_path: Path) -> Any:
    log = open_log(tmp_path / "log")
    weights = {("1" * 64, "law", "ana"): 333_333_333, ("1" * 64, "tax", "cid"): 600_000_001}
    log.append_all(
        [request(i, adapter("1", LAW), influence=Influence("ef_base.v1", weights)) for i in range(5)]
    )
    found = close_epoch(log, tmp_path / "out")
    log.close()
    return found


def test_roots_proofs_and_calls_are_the_same_in_both_languages(settled: Any) -> None:
    found = javascript(settled.path)
    assert found["root"] == settled.document["payout"]["root"]
    assert found["proofs"] == [payee["proof"] for payee in settled.payees]
    assert found["calls"] == ["0x" + claim_call(payee).hex() for payee in settled.payees]
    assert all(found["package"])
    assert all(found["own"])
    assert not any(found["more"])
    assert found["refused"] == [f"0x{'9' * 40} is none of the {len(settled.payees)} payees"]


def test_proofs_made_in_javascript_hold_in_python_and_in_the_contract(settled: Any) -> None:
    found = javascript(settled.path)
    root = bytes.fromhex(found["root"][2:])
    for payee, proof in zip(settled.payees, found["proofs"], strict=True):
        leaf = payout_leaf(bytes.fromhex(payee["address"][2:]), int(payee["cumulative_wei"]), keccak)
        assert verify_payout(root, leaf, [bytes.fromhex(node[2:]) for node in proof], keccak)
    chain = Chain(chain_id=1_000, genesis_time=day0_timestamp(), balances={POSTER: 10**24})
    contract = Distributor.deploy(chain, POSTER, admin=POSTER, poster=POSTER)
    total = settled.total_wei
    contract.post_epoch(
        POSTER, Posted(1, settled.log_root, settled.log_size, root, total, settled.uri_hash), total
    )
    for payee, call in zip(settled.payees, found["calls"], strict=True):
        assert chain.send(POSTER, contract.address, bytes.fromhex(call[2:]), 0).status == 1
        assert chain.balance(bytes.fromhex(payee["address"][2:])) == int(payee["cumulative_wei"])
    assert chain.balance(contract.address) == 0


def test_golden_roots_of_the_payout_tree() -> None:
    """(address, uint256) leaves of the reference: two payees, and a third."""
    payees = [(b"\x11" * 20, 5 * 10**18), (b"\x22" * 20, 25 * 10**17)]
    assert (
        payout_tree(payees, keccak).root.hex()
        == "d4dee0beab2d53f2cc83e567171bd2820e49898130a22622b10ead383e90bd77"
    )
    payees.append((b"\x33" * 20, 10**9))
    assert (
        payout_tree(payees, keccak).root.hex()
        == "50c9de8d1bd9def84c148d2da9c7e476adb7fca6958c24c4bbb7b09e24ca9f4d"
    )
