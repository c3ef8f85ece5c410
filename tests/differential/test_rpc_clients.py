"""A served network through its clients: the life of OPEN from web3.py and from ethers, and the node's settlement."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("web3", reason="needs the dev extra (web3)")
pytest.importorskip("uvicorn", reason="needs the chain extra (uvicorn)")

from eth_abi.abi import encode
from hexbytes import HexBytes
from web3 import HTTPProvider, Web3
from web3.exceptions import ContractCustomError, ContractLogicError, TransactionNotFound, Web3RPCError

from tests.differential.served_network import Served, served

pytestmark = [pytest.mark.chain, pytest.mark.slow]

OPEN, DAY = 10**18, 86_400
ETHERS = Path(__file__).with_name("ethers")
SUPPORT_FOR = 1


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    with served(tmp_path_factory.mktemp("network")) as running:
        yield running


class Client:
    """web3.py on one of the nodes, with the contracts of the deployment file."""

    def __init__(self, url: str, contracts: dict[str, Any]) -> None:
        self.web3 = Web3(HTTPProvider(url))
        self.contracts = {
            name: self.web3.eth.contract(entry["address"], abi=entry["abi"])
            for name, entry in contracts.items()
        }

    def act(self, sender: str, name: str, function: str, *arguments: Any, **fields: Any) -> Any:
        call = self.contracts[name].functions[function](*arguments)
        return self.mined(call.transact({"from": sender, **fields}))

    def read(self, name: str, function: str, *arguments: Any) -> Any:
        return self.contracts[name].functions[function](*arguments).call()

    def mined(self, digest: Any) -> Any:
        receipt = self.web3.eth.wait_for_transaction_receipt(digest)
        assert receipt["status"] == 1
        return receipt

    def travel(self, seconds: int) -> None:
        self.rpc("evm_increaseTime", seconds)
        self.rpc("evm_mine")

    def rpc(self, method: str, *params: Any) -> Any:
        answer = self.web3.provider.make_request(method, list(params))
        assert "error" not in answer, answer
        return answer["result"]


@pytest.fixture(scope="module")
def l2(network):
    return Client(network.l2, network.deployment["contracts"])


@pytest.fixture(scope="module")
def l1(network):
    return Client(network.l1, network.deployment["l1"]["contracts"])


@pytest.fixture(autouse=True)
def _back_to_the_start(l2):
    """Each test leaves both chains as it found them."""
    snapshot = l2.rpc("evm_snapshot")
    yield
    assert l2.rpc("evm_revert", snapshot) is True


def test_the_deployment_file_is_what_its_schema_says(network):
    jsonschema = pytest.importorskip("jsonschema")
    from sim.chain.rpc.deployment_file import SCHEMA

    jsonschema.validate(network.deployment, json.loads(SCHEMA.read_text()))
    names = {
        "GOPEN",
        "OpenGovernor",
        "Timelock",
        "AttributionDistributor",
        "Parameters",
        "L2ToL1MessagePasser",
    }
    assert names <= set(network.deployment["contracts"])
    assert {"OPEN", "vesting.community", "OptimismPortal"} <= set(network.deployment["l1"]["contracts"])


def test_a_proposal_from_web3(l2):
    """Wrap, delegate, propose, vote, queue and execute, with jumps in time between."""
    me = l2.web3.eth.accounts[0]
    l2.act(me, "GOPEN", "deposit", value=500_000 * OPEN)
    l2.act(me, "GOPEN", "delegate", me)
    l2.travel(1)
    parameters = l2.contracts["Parameters"]
    data = parameters.encode_abi("set", ["fees.split", [2, 1, 6]])
    proposal = ([parameters.address], [0], [data])
    receipt = l2.act(me, "OpenGovernor", "propose", *proposal, "data first")
    created = l2.contracts["OpenGovernor"].events.ProposalCreated().process_receipt(receipt)[0]
    number = created["args"]["proposalId"]
    l2.travel(DAY + 1)
    l2.act(me, "OpenGovernor", "castVote", number, SUPPORT_FOR)
    with pytest.raises(ContractCustomError):
        l2.act(me, "OpenGovernor", "castVote", number, SUPPORT_FOR)
    l2.travel(7 * DAY)
    rest = (*proposal, Web3.keccak(text="data first"))
    governor = l2.contracts["OpenGovernor"]
    for function in ("queue", "execute"):
        call = governor.get_function_by_signature(f"{function}(address[],uint256[],bytes[],bytes32)")
        l2.mined(call(*rest).transact({"from": me}))
        l2.travel(7 * DAY)
    assert l2.read("Parameters", "get", "fees.split") == [2, 1, 6]
    (changed,) = parameters.events.ParameterSet().get_logs(from_block=receipt["blockNumber"])
    assert (changed["args"]["oldValues"], changed["args"]["newValues"]) == ([2, 2, 5], [2, 1, 6])


def test_vesting_and_claims_from_web3(network, l1, l2):
    """A month's part is released on L1; a root is posted on L2 and claimed once."""
    me = l1.web3.eth.accounts[0]
    before = l1.read("vesting.community", "released")
    l1.act(me, "vesting.community", "release")
    l1.travel(31 * DAY)
    l1.act(me, "vesting.community", "release")
    assert l1.read("vesting.community", "released") > before
    poster = Web3.to_checksum_address(network.deployment["accounts"]["distributor.poster"])
    payee, amount = l2.web3.eth.account.create().address, 1_000 * OPEN
    root = Web3.keccak(Web3.keccak(encode(["address", "uint256"], [payee, amount])))
    l2.act(
        poster, "AttributionDistributor", "postEpoch", 1, bytes(32), 0, root, amount, bytes(32), value=amount
    )
    l2.act(me, "AttributionDistributor", "claim", payee, amount, [])
    assert l2.web3.eth.get_balance(payee) == amount
    with pytest.raises(ContractLogicError):
        l2.act(me, "AttributionDistributor", "claim", payee, amount, [])


def test_over_the_bridge_and_home_from_web3(l1, l2):
    """OPEN into the portal comes out on L2 by itself; coins of L2 go home with a storage proof after the window."""
    me = l1.web3.eth.accounts[1]
    portal, before = l1.contracts["OptimismPortal"].address, l2.web3.eth.get_balance(me)
    l1.act(me, "OPEN", "approve", portal, 2_000 * OPEN)
    l1.act(
        me, "OptimismPortal", "depositERC20Transaction", me, 2_000 * OPEN, 2_000 * OPEN, 21_000, False, b""
    )
    assert l2.web3.eth.get_balance(me) == before + 2_000 * OPEN
    l2.act(me, "L2ToL1MessagePasser", "initiateWithdrawal", me, 100_000, b"", value=400 * OPEN)
    (waiting,) = l2.rpc("olsim_withdrawals")
    l1.travel(int(waiting["provableAt"], 16) - l1.web3.eth.get_block("latest")["timestamp"])
    proof = l1.rpc("olsim_withdrawalProof", waiting["withdrawalHash"])
    order = ("nonce", "sender", "target", "value", "gasLimit", "data")
    numbers = ("nonce", "value", "gasLimit")
    fields = proof["transaction"]
    message = tuple(int(fields[name], 16) if name in numbers else _address(fields[name]) for name in order)
    roots = tuple(HexBytes(one) for one in proof["outputRootProof"].values())
    nodes = [HexBytes(one) for one in proof["withdrawalProof"]]
    l1.act(
        me,
        "OptimismPortal",
        "proveWithdrawalTransaction",
        message,
        int(proof["outputIndex"], 16),
        roots,
        nodes,
    )
    with pytest.raises(ContractLogicError, match="proven withdrawal finalization period has not elapsed"):
        l1.act(me, "OptimismPortal", "finalizeWithdrawalTransaction", message)
    held = l1.read("OPEN", "balanceOf", me)
    l1.travel(7 * DAY + 1)
    l1.act(me, "OptimismPortal", "finalizeWithdrawalTransaction", message)
    assert l1.read("OPEN", "balanceOf", me) == held + 400 * OPEN
    assert l2.rpc("olsim_withdrawals") == []


def _address(text: str) -> Any:
    return Web3.to_checksum_address(text) if len(text) == 42 else HexBytes(text)


def test_a_key_signs_and_the_node_refuses_what_does_not_fit(network, l2):
    """Signed transactions of types 0, 1 and 2 are mined; a wrong chain or nonce and missing money are refused."""
    keys = l2.web3.eth.account
    keys.enable_unaudited_hdwallet_features()
    me = keys.from_mnemonic(network.deployment["development"]["mnemonic"], account_path="m/44'/60'/0'/0/3")
    other, fields = l2.web3.eth.accounts[4], {"chainId": l2.web3.eth.chain_id, "gas": 50_000, "value": 7}
    kinds = (
        {"gasPrice": 0},
        {"gasPrice": 0, "accessList": [], "type": 1},
        {"maxFeePerGas": 0, "maxPriorityFeePerGas": 0, "type": 2},
    )
    for kind in kinds:
        nonce = l2.web3.eth.get_transaction_count(me.address)
        signed = me.sign_transaction({**fields, **kind, "to": other, "nonce": nonce})
        receipt = l2.mined(l2.web3.eth.send_raw_transaction(signed.raw_transaction))
        found = l2.web3.eth.get_transaction(receipt["transactionHash"])
        assert (found["type"], found["from"], found["to"]) == (kind.get("type", 0), me.address, other)
        assert found["hash"] == signed.hash
    block = l2.web3.eth.block_number
    for wrong, words in (
        ({"chainId": 1}, "invalid chain id for signer"),
        ({"nonce": 0}, "nonce too low"),
        ({"value": 10**30}, "insufficient funds"),
        ({"gas": 20_000}, "intrinsic gas too low"),
        ({"gas": 10**9}, "exceeds block gas limit"),
    ):
        nonce = l2.web3.eth.get_transaction_count(me.address)
        signed = me.sign_transaction({**fields, "gasPrice": 0, "to": other, "nonce": nonce, **wrong})
        with pytest.raises(Web3RPCError, match=words):
            l2.web3.eth.send_raw_transaction(signed.raw_transaction)
    assert l2.web3.eth.block_number == block
    with pytest.raises(TransactionNotFound):
        l2.web3.eth.get_transaction_receipt(bytes(32))


def test_logs_filters_and_history_from_web3(l2):
    """Events by topic, a filter, and the state of an earlier block."""
    me, other = l2.web3.eth.accounts[5], l2.web3.eth.accounts[6]
    gopen = l2.contracts["GOPEN"]
    follow = gopen.events.Transfer.create_filter(from_block="latest", argument_filters={"to": other})
    l2.act(me, "GOPEN", "deposit", value=9 * OPEN)
    block = l2.web3.eth.block_number
    receipt = l2.act(me, "GOPEN", "transfer", other, 4 * OPEN)
    (entry,) = follow.get_new_entries()
    assert (entry["args"]["value"], entry["transactionHash"]) == (4 * OPEN, receipt["transactionHash"])
    assert follow.get_new_entries() == []
    assert [log["args"]["value"] for log in gopen.events.Transfer.get_logs(from_block=block)] == [
        9 * OPEN,
        4 * OPEN,
    ]
    assert gopen.functions.balanceOf(me).call(block_identifier=block) == 9 * OPEN
    assert gopen.functions.balanceOf(me).call() == 5 * OPEN
    assert l2.web3.eth.get_block(block)["hash"] == l2.web3.eth.get_block(block + 1)["parentHash"]
    assert l2.web3.eth.fee_history(4, "latest", [50])["baseFeePerGas"] == [0] * 5


def test_the_reference_node_posts_a_settlement(network, l2, tmp_path):
    """The node that bills reads the deployment file, posts through the network, and payees claim to the wei."""
    pytest.importorskip("cbor2", reason="needs the node extra (cbor2)")
    from reference_node.billing import close_epoch
    from reference_node.billing.post import post_settlement
    from reference_node.billing.sender import Sender
    from tests.node.billing_world import ANA, filled_log

    settlement = close_epoch(filled_log(tmp_path / "log"), tmp_path / "out")
    poster = Sender.unlocked(network.deployment["accounts"]["distributor.poster"])
    posting = post_settlement(settlement, network.path, network.l2, poster)
    assert (posting.epoch, posting.value_wei) == (1, settlement.total_wei)
    assert posting.block == l2.web3.eth.block_number
    payee, me = settlement.payee(ANA), l2.web3.eth.accounts[0]
    account = Web3.to_checksum_address(payee["address"])
    before = l2.web3.eth.get_balance(account)
    l2.act(me, "AttributionDistributor", "claim", account, int(payee["cumulative_wei"]), payee["proof"])
    assert l2.web3.eth.get_balance(account) == before + int(payee["cumulative_wei"])
    again = post_settlement(settlement, network.path, network.l2, poster)
    assert again.transaction is None


@pytest.fixture(scope="module")
def ethers(tmp_path_factory):
    """A folder with ethers installed and the scripts in it."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("Node.js and npm are not installed")
    folder = tmp_path_factory.mktemp("ethers") / "scripts"
    shutil.copytree(ETHERS, folder, ignore=shutil.ignore_patterns("node_modules"))
    done = subprocess.run([npm, "ci"], cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode != 0:
        pytest.skip(f"npm ci failed: {done.stderr.strip().splitlines()[-1:]}")
    return folder


@pytest.mark.compile
@pytest.mark.parametrize(
    "script", sorted(path.name for path in ETHERS.glob("*.mjs") if path.name != "network.mjs")
)
def test_ethers(ethers, network: Served, script):
    """The same life of OPEN, and the rest of what wallets ask, from ethers."""
    done = subprocess.run(
        ["node", script, str(network.path)],
        cwd=ethers,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


def test_the_lock_file_of_the_scripts_names_no_host():
    lock = json.loads((ETHERS / "package-lock.json").read_text(encoding="utf-8"))
    assert '"resolved"' not in json.dumps(lock)
    assert lock["packages"][""]["devDependencies"] == {"ethers": "6.17.0"}
