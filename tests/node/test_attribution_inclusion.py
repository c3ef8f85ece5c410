"""Real records of a billing log: proofs that Python, the command and the contract on a chain agree on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("cbor2", reason="needs the node extra (cbor2)")
pytest.importorskip("web3", reason="needs the dev extra (web3, eth-tester)")

from models.errors import InputError
from reference_node.billing.anchor import Anchor, includes_call
from reference_node.billing.claim import number_of, prove_record
from reference_node.billing.distributor import Deployment
from reference_node.billing.rpc import Rpc
from reference_node.commands.prove import prove
from tests.node.billing_world import filled_log, mixed_requests
from tests.node.devnet import ARTIFACT, ROOT, Devnet

pytestmark = pytest.mark.node

GAS_MAX = 80_000
"""Of one check of a record of 300 bytes in a log of a dozen, its 21,000 and call data included."""
app = typer.Typer()
app.command()(prove)
run = CliRunner().invoke
ANCHOR = json.loads((ROOT / "sim/chain/artifacts/LogAnchor.json").read_text())


class Anchored:
    """A billing log of twelve records, its head on a chain, and two records after it."""

    def __init__(self, folder: Path) -> None:
        log = filled_log(folder / "log")
        self.log, self.devnet = folder / "log", Devnet()
        web3 = self.devnet.web3
        factory = web3.eth.contract(abi=ANCHOR["abi"], bytecode=ANCHOR["bytecode"])
        sent = factory.constructor(self.devnet.admin, self.devnet.poster).transact(
            {"from": self.devnet.admin}
        )
        address = web3.eth.get_transaction_receipt(sent)["contractAddress"]
        self.contract = web3.eth.contract(address=address, abi=ANCHOR["abi"])
        self.anchor(log.root(), log.size, bytes(32))
        for served in mixed_requests(2, first=50):
            log.append(served)
        log.close()
        self.deployment = self.devnet.deployment(
            folder / "deployment.json",
            contracts={
                "AttributionDistributor": {
                    "address": self.devnet.distributor.address,
                    "abi": ARTIFACT["abi"],
                },
                "LogAnchor": {"address": address, "abi": ANCHOR["abi"]},
            },
        )

    def anchor(self, root: bytes, size: int, before: bytes) -> None:
        self.contract.functions.anchor(root, size, before).transact({"from": self.devnet.poster})

    def prove(self, number: int, *more: str) -> Any:
        return run(app, [str(self.log), f"{number:032x}", *more])

    @property
    def chain(self) -> list[str]:
        return ["--rpc", self.devnet.url, "--deployment", str(self.deployment)]


@pytest.fixture
def world(tmp_path: Path) -> Any:
    found = Anchored(tmp_path)
    yield found
    found.devnet.close()


def test_every_record_is_included_by_the_contract_and_a_forged_one_is_not(world: Anchored) -> None:
    target = Deployment.read(world.deployment)
    with Rpc(world.devnet.url) as rpc:
        anchor = Anchor.of(rpc, target)
        head = anchor.latest()
        assert head is not None
        assert (head.index, head.size) == (0, 12)
        for seq in range(12):
            proof, root = prove_record(world.log, seq, head.size)
            assert root == head.root
            assert proof.leads_to(head.root)
            assert anchor.includes(head, proof)
            call = "0x" + includes_call(head.index, proof).hex()
            arguments = [0, proof.data, seq, list(proof.path)]
            assert world.contract.encode_abi("includes", arguments) == call
            assert world.contract.functions.includes(*arguments).estimate_gas() <= GAS_MAX
        for forged in (
            replace(proof, seq=3),
            replace(proof, data=proof.data[:-1] + b"\1"),
            replace(proof, path=proof.path[:-1]),
        ):
            assert not anchor.includes(head, forged)


def test_the_command_proves_a_request(world: Anchored) -> None:
    found = json.loads(world.prove(4, "--json").stdout)
    proof, root = prove_record(world.log, 4)
    assert (found["index"], found["size"], found["root"]) == (4, 14, root.hex())
    assert (found["verified"], "anchor" in found) == (True, False)
    assert [bytes.fromhex(node) for node in found["path"]] == list(proof.path)
    assert bytes.fromhex(found["record"]) == proof.data
    assert json.loads(world.prove(4, "--size", "12", "--json").stdout)["size"] == 12
    assert "leads to the root" in world.prove(50).stdout


def test_the_command_asks_the_contract(world: Anchored) -> None:
    found = json.loads(world.prove(4, "--json", *world.chain).stdout)
    assert (found["size"], found["verified"], found["anchor"]["includes"]) == (12, True, True)
    assert found["anchor"]["root"] == found["root"]
    late = world.prove(50, *world.chain)
    assert late.exit_code == 1
    assert "record 12 is not anchored yet: the latest head is over 12 records" in late.stderr


def test_a_head_of_another_log_is_told(world: Anchored) -> None:
    latest = world.contract.functions.head(0).call()
    world.anchor(b"\7" * 32, 14, latest[0])
    result = world.prove(4, *world.chain)
    assert result.exit_code == 1
    assert "leads to the root" in result.stdout
    assert f"head 1: DOES NOT INCLUDE IT: its root is {'07' * 32}" in result.stdout


def test_an_anchored_head_longer_than_the_log_is_refused(world: Anchored) -> None:
    latest = world.contract.functions.head(0).call()
    world.anchor(b"\7" * 32, 99, latest[0])
    refused = world.prove(4, *world.chain).exception
    assert isinstance(refused, InputError)
    assert "record 4 of 99: the log holds 14" in str(refused)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["LOG", "xyz"], "request id 'xyz': expected 32 hexadecimal digits"),
        (["LOG", "ff" * 16], "is billed by no record of the log"),
        (["LOG", "00" * 16, "--size", "15"], "record 0 of 15: the log holds 14"),
        (["LOG", "00" * 16, "--rpc", "http://127.0.0.1:1"], "--rpc and --deployment are given together"),
        (["nowhere", "00" * 16], "there is no such log folder"),
    ],
)
def test_what_cannot_be_proved_is_bad_input(world: Anchored, arguments: list[str], message: str) -> None:
    refused = run(app, [str(world.log) if one == "LOG" else one for one in arguments]).exception
    assert isinstance(refused, InputError)
    assert message in str(refused)


def test_a_contract_that_is_no_anchor_is_named(world: Anchored) -> None:
    document = json.loads(world.deployment.read_text())
    document["contracts"]["LogAnchor"]["address"] = world.devnet.distributor.address
    world.deployment.write_text(json.dumps(document))
    assert "is no LogAnchor" in str(world.prove(4, *world.chain).exception)
    del document["contracts"]["LogAnchor"]
    world.deployment.write_text(json.dumps(document))
    assert "names no contract LogAnchor" in str(world.prove(4, *world.chain).exception)


def test_a_request_is_found_by_its_id_wherever_the_bytes_appear(tmp_path: Path) -> None:
    log = filled_log(tmp_path, 12)
    log.close()
    assert [number_of(tmp_path, f"{number:032x}") for number in (0, 7, 11)] == [0, 7, 11]
