"""A chain at a node: addresses, the requests and answers, and every node that a witness run cannot use."""

from __future__ import annotations

import json
import pickle
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer

import pytest
import typer

from models.errors import InputError
from sim import cli
from sim.chain.backend import ChainError, InsufficientFunds
from sim.chain.backends.connect import NEEDED, connect
from sim.chain.backends.nodes import Nodes, parse_nodes
from sim.chain.backends.rpc import RpcChain
from sim.chain.backends.transport import NodeError, Transport

ID, T0 = 900_161, 1_750_000_000
ALICE, BOB = b"\xa1" * 20, b"\xb2" * 20
NONE = object()


class Server(ThreadingHTTPServer):
    def server_bind(self):
        """Bind without asking anybody for the machine's name, which takes half a second."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address


class FakeNode:
    """Answers JSON-RPC with what a test says; a callable gets the params, an exception's text is an error."""

    def __init__(self):
        self.asked = []
        self.blocks = 0
        self.answers = {
            "eth_chainId": hex(ID), "eth_blockNumber": lambda: hex(self.blocks), "evm_snapshot": "0x1",
            "eth_getBlockByNumber": {"timestamp": hex(T0 - 9), "gasLimit": "0x3938700", "baseFeePerGas": "0x0",
                                     "hash": "0x" + "ab" * 32},
            "eth_getProof": {}, "evm_mine": self.mine, "evm_setNextBlockTimestamp": None,
            **{method: None for method, _ in NEEDED if method.startswith("anvil_")},
        }  # fmt: skip
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet: a second one would wait 40 ms

            def do_POST(self):
                text = fake.answer(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *arguments):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def mine(self):
        self.blocks += 1
        return "0x0"

    def answer(self, body):
        request = json.loads(body)
        self.asked.append((request["method"], request["params"]))
        found = self.answers.get(request["method"], NONE)
        if found is NONE:
            return json.dumps({"error": {"code": -32601, "message": "Method not found"}}).encode()
        if isinstance(found, bytes):
            return found
        if callable(found):
            found = found()
        if isinstance(found, tuple):
            code, message, data = found
            return json.dumps({"error": {"code": code, "message": message, "data": data}}).encode()
        return json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": found}).encode()


@pytest.fixture
def node():
    fake = FakeNode()
    yield fake
    fake.server.shutdown()
    fake.server.server_close()


@pytest.fixture
def chain(node):
    found = connect(node.address, chain_id=ID, genesis_time=T0)
    yield found
    found.close()


def receipt(**changes):
    plain = {
        "blockNumber": "0x2", "status": "0x1", "gasUsed": "0x5208", "from": "0x" + "a1" * 20,
        "to": "0x" + "b2" * 20, "contractAddress": None, "logs": [],
    }  # fmt: skip
    return plain | changes


class TestAddresses:
    def test_one_address_is_l2s(self):
        assert parse_nodes("rpc://localhost:8545") == Nodes("localhost:8545")
        assert parse_nodes("rpc://[::1]:8545") == Nodes("[::1]:8545")

    def test_two_are_l2s_and_l1s(self):
        assert parse_nodes("rpc://a:1,b:2") == Nodes("a:1", "b:2")

    @pytest.mark.parametrize(
        "text",
        ["rpc://", "rpc://a", "rpc://:8545", "rpc://a:port", "rpc://a:99999", "rpc://a:1/x", "rpc://u@a:1", "http://a:1",
         "rpc://a:1,", "rpc://a:1,b:2,c:3", "rpc://a:1,a:1", "rpc://a:0"],
    )  # fmt: skip
    def test_everything_else_is_refused(self, text):
        with pytest.raises(InputError, match=r"expected|needs its own"):
            parse_nodes(text)


class TestUnusable:
    def refused(self, node, match):
        with pytest.raises(NodeError, match=match) as caught:
            connect(node.address, chain_id=ID, genesis_time=T0)
        assert str(caught.value).startswith(node.address)
        assert not any(method.startswith("eth_send") for method, _ in node.asked)

    def test_nobody_there(self):
        with pytest.raises(NodeError, match=r"^127.0.0.1:1: no node answers there"):
            connect("127.0.0.1:1", chain_id=ID, genesis_time=T0)

    @pytest.mark.parametrize(
        ("method", "answer", "match"),
        [
            ("eth_chainId", "0x1", r"has chain id 1; expected 900161; start one with: anvil .*--chain-id 900161"),
            ("eth_blockNumber", "0x7", "has 7 blocks; a witness run needs a fresh node"),
            ("eth_getBlockByNumber", {"timestamp": hex(T0), "gasLimit": "0x1"}, f"stands at {T0} s, the run begins"),
            ("eth_getBlockByNumber", {"timestamp": "0x1", "gasLimit": "0x1", "baseFeePerGas": "0x7"}, "fee of 7 wei"),
            ("eth_chainId", (-32000, "busy", None), "refuses eth_chainId: eth_chainId: busy"),
            ("eth_chainId", b"<html>", "answers, but not in JSON-RPC"),
            ("eth_chainId", b"[1]", "answers, but not in JSON-RPC"),
            *((method, NONE, f"has no method {method}") for method, _ in NEEDED),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_named(self, node, method, answer, match):
        node.answers[method] = answer
        self.refused(node, match)

    def test_the_error_survives_another_process(self):
        error = NodeError("a:1", "is gone")
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.address) == (NodeError, str(error), "a:1")

    def test_a_run_leaves_with_2_and_nothing_behind(self, tmp_path, root, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        baseline = Path(root) / "scenarios" / "baseline.yaml"
        words = [
            "run",
            str(baseline),
            "--runs",
            "1",
            "--days",
            "31",
            "--agents",
            "100",
            "--chain",
            "rpc://127.0.0.1:1",
        ]
        code = cli.run(lambda: typer.main.get_command(cli.app).main(words, "olsim"))
        assert code == 2
        assert "127.0.0.1:1: no node answers there" in capsys.readouterr().err
        assert not list((tmp_path / "runs").glob("*"))

    def test_a_word_that_is_none_of_the_three(self, capsys):
        code = cli.run(
            lambda: typer.main.get_command(cli.app).main(["run", "x.yaml", "--chain", "maybe"], "olsim")
        )
        assert code == 2
        assert "--chain maybe: expected on, off, rpc://HOST:PORT" in capsys.readouterr().err


class TestChain:
    def test_it_begins_with_a_block_at_its_first_second(self, node, chain):
        assert (chain.time, chain.block_number, chain.transaction_count) == (T0, 2, 0)
        assert ("evm_setNextBlockTimestamp", [T0]) in node.asked

    def test_a_transaction_is_sent_once_for_whoever_it_is_from(self, node, chain):
        node.answers |= {"eth_sendTransaction": "0x01", "eth_getTransactionReceipt": receipt()}
        done = chain.send(ALICE, BOB, b"\x01", value=5)
        assert (done.index, done.block_number, done.timestamp, done.gas_used) == (0, 2, T0, 21_000)
        sent = [params for method, params in node.asked if method == "eth_sendTransaction"]
        assert sent == [[{"from": "0x" + "a1" * 20, "to": "0x" + "b2" * 20, "data": "0x01", "value": "0x5",
                          "gas": "0x3938700", "gasPrice": "0x0"}]]  # fmt: skip
        assert ("anvil_impersonateAccount", ["0x" + "a1" * 20]) in node.asked

    def test_a_receipt_is_waited_for(self, node, chain):
        waiting = iter([None, None, receipt()])
        node.answers |= {"eth_sendTransaction": "0x01", "eth_getTransactionReceipt": lambda: next(waiting)}
        assert chain.send(ALICE, BOB).status == 1

    def test_a_node_that_does_not_mine(self, node, chain, monkeypatch):
        monkeypatch.setattr("sim.chain.backends.rpc.RECEIPT_TIMEOUT_S", 0.0)
        node.answers |= {"eth_sendTransaction": "0x01", "eth_getTransactionReceipt": None}
        with pytest.raises(NodeError, match="did not mine transaction 0x01; it has to mine at once"):
            chain.send(ALICE, BOB)

    def test_a_node_that_somebody_else_uses(self, node, chain):
        node.answers |= {
            "eth_sendTransaction": "0x01",
            "eth_getTransactionReceipt": receipt(blockNumber="0x9"),
        }
        with pytest.raises(NodeError, match="into block 9 where 2 was next; somebody else uses it"):
            chain.send(ALICE, BOB)

    def test_a_node_that_is_gone(self, node, chain):
        node.server.shutdown()
        node.server.server_close()
        chain.close()
        with pytest.raises(NodeError, match="no node answers there"):
            chain.balance(ALICE)

    def test_revert_data_comes_from_a_call(self, node, chain):
        node.answers |= {
            "eth_sendTransaction": "0x01", "eth_getTransactionReceipt": receipt(status="0x0", contractAddress="0x01"),
            "eth_call": (3, "execution reverted", "0xdeadbeef"),
        }  # fmt: skip
        failed = chain.send(ALICE, BOB)
        assert (failed.status, failed.output, failed.contract_address) == (0, b"\xde\xad\xbe\xef", None)

    def test_events_are_counted_through_the_chain(self, node, chain):
        log = {"address": "0x" + "b2" * 20, "topics": ["0x" + "01" * 32], "data": "0x02"}
        blocks = iter(range(2, 9))
        node.answers |= {
            "eth_sendTransaction": "0x01",
            "eth_getTransactionReceipt": lambda: receipt(blockNumber=hex(next(blocks)), logs=[log, log]),
        }  # fmt: skip
        chain.send(ALICE, BOB)
        chain.send(ALICE, BOB)
        assert [(found.log_index, found.transaction_index) for found in chain.logs(address=BOB)] == [
            (0, 0), (1, 0), (2, 1), (3, 1),
        ]  # fmt: skip
        assert chain.logs(from_block=3, topics=(b"\x01" * 32,)) == list(chain.receipts[1].logs)
        assert chain.logs(address=ALICE) == []

    def test_a_sender_that_cannot_pay(self, node, chain):
        node.answers |= {"eth_sendTransaction": (-32003, "insufficient funds", None), "eth_getBalance": "0x4"}
        with pytest.raises(InsufficientFunds, match="has 4 wei and sends 5 wei"):
            chain.send(ALICE, BOB, value=5)
        with pytest.raises(ChainError, match="cannot be included: eth_sendTransaction: insufficient funds"):
            chain.send(ALICE, BOB)

    def test_a_deposit_whose_call_cannot_begin_keeps_its_mint(self, node, chain):
        node.answers |= {
            "eth_sendTransaction": (-32003, "insufficient funds", None), "eth_getBalance": "0x4",
            "eth_getTransactionCount": "0x2",
        }  # fmt: skip
        failed = chain.execute_deposit(ALICE, BOB, mint=1, value=9, gas=100_000)
        assert (failed.status, failed.gas_used) == (0, 100_000)
        assert ("anvil_setBalance", ["0x" + "a1" * 20, "0x5"]) in node.asked
        assert ("anvil_setNonce", ["0x" + "a1" * 20, "0x3"]) in node.asked

    @pytest.mark.parametrize(
        ("answer", "status", "output"),
        [
            ("0x01", 1, b"\x01"),
            ((-32603, "EVM error OutOfGas", None), 0, b""),
            ((3, "execution reverted", "0x02"), 0, b"\x02"),
            ((3, "execution reverted", {"data": "0x02"}), 0, b"\x02"),
            ((3, "execution reverted", "0xzz"), 0, b""),
        ],
    )
    def test_calls(self, node, chain, answer, status, output):
        node.answers["eth_call"] = answer
        result = chain.call(BOB, b"")
        assert (result.status, result.output) == (status, output)

    def test_a_call_that_the_node_does_not_understand(self, node, chain):
        node.answers["eth_call"] = (-32602, "invalid params", None)
        with pytest.raises(ChainError, match="invalid params"):
            chain.call(BOB, b"")

    def test_going_back_more_than_once(self, node, chain):
        ids = iter(["0x7", "0x8", "0x9"])
        node.answers |= {"evm_snapshot": lambda: next(ids), "evm_revert": True}
        snapshot = chain.snapshot()
        chain.set_time(T0 + 60)
        node.blocks = 1
        chain.revert(snapshot)
        assert (chain.time, chain.block_number) == (T0, 2)
        chain.revert(snapshot)
        assert [params for method, params in node.asked if method == "evm_revert"] == [["0x7"], ["0x8"]]
        with pytest.raises(ChainError, match="snapshot 9 is unknown"):
            chain.revert(9)

    def test_time_does_not_go_back(self, chain):
        with pytest.raises(ChainError, match="is not after the present block's"):
            chain.set_time(T0)

    def test_an_idle_connection_is_made_anew(self, node, monkeypatch):
        monkeypatch.setattr("sim.chain.backends.transport.IDLE_S", -1.0)
        transport = Transport(node.address)
        assert [transport("eth_chainId") for _ in range(3)] == [hex(ID)] * 3
        transport.close()


def test_no_other_kind_of_chain_is_needed_here():
    """What the bridge and the witness run ask of a chain is all there."""
    from sim.chain.backend import SandboxChain

    wanted = {name for name in dir(SandboxChain) if not name.startswith("_")}
    assert wanted - {*dir(RpcChain), "chain_id", "time"} == set()
