"""A real EVM behind a small JSON-RPC server, for tests that post: eth-tester with the committed distributor."""

from __future__ import annotations

import ast
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from eth_tester import EthereumTester, PyEVMBackend
from eth_tester.exceptions import TransactionFailed
from web3 import EthereumTesterProvider, Web3
from web3.exceptions import ContractLogicError, TransactionNotFound

ROOT = Path(__file__).resolve().parents[2]
ARTIFACT = json.loads((ROOT / "sim/chain/artifacts/AttributionDistributor.json").read_text())


class Devnet:
    """Accounts 0 (admin) and 1 (poster) of eth-tester, a distributor, and an HTTP address.

    `breaks` is called with each method before and after it runs, and may raise `ConnectionError`: the client
    then gets no answer.
    """

    def __init__(self) -> None:
        self.tester = EthereumTester(PyEVMBackend())
        self.web3 = Web3(EthereumTesterProvider(self.tester))
        self.admin, self.poster = self.web3.eth.accounts[:2]
        self.distributor = self._deploy()
        self.breaks: Callable[[str, bool], None] = lambda method, done: None
        self.calls: list[str] = []
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def deployment(self, path: Path, **changes: Any) -> Path:
        """Write `deployment.json`."""
        contract = {"address": self.distributor.address, "abi": ARTIFACT["abi"]}
        document = {
            "schema": 1,
            "chain_id": self.web3.eth.chain_id,
            "contracts": {"AttributionDistributor": contract},
            "accounts": {"distributor.poster": self.poster},
        }
        path.write_text(json.dumps({**document, **changes}))
        return path

    def claim(self, payee: dict[str, Any]) -> int:
        """Claim for a payee of a settlement and return what its balance rose by, wei."""
        account = Web3.to_checksum_address(payee["address"])
        before = self.web3.eth.get_balance(account)
        self.distributor.functions.claim(account, int(payee["cumulative_wei"]), payee["proof"]).transact(
            {"from": self.admin}
        )
        return self.web3.eth.get_balance(account) - before

    def answer(self, method: str, params: list[Any]) -> Any:
        with self.lock:
            self.calls.append(method)
            self.breaks(method, False)
            result = self._run(method, params)
            self.breaks(method, True)
            return result

    def _deploy(self) -> Any:
        factory = self.web3.eth.contract(abi=ARTIFACT["abi"], bytecode=ARTIFACT["bytecode"])
        receipt = self.web3.eth.wait_for_transaction_receipt(
            factory.constructor(self.admin, self.poster).transact({"from": self.admin})
        )
        return self.web3.eth.contract(receipt["contractAddress"], abi=ARTIFACT["abi"])

    def _run(self, method: str, params: list[Any]) -> Any:
        eth = self.web3.eth
        run: dict[str, Callable[..., Any]] = {
            "eth_chainId": lambda: hex(eth.chain_id),
            "eth_accounts": lambda: list(eth.accounts),
            "eth_gasPrice": lambda: hex(eth.gas_price),
            "eth_getCode": lambda a, tag: "0x" + eth.get_code(_sum(a)).hex(),
            "eth_getBalance": lambda a, tag: hex(eth.get_balance(_sum(a))),
            "eth_getTransactionCount": lambda a, tag: hex(eth.get_transaction_count(_sum(a))),
            "eth_call": lambda call, tag: "0x" + eth.call(_call(call)).hex(),
            "eth_estimateGas": lambda call: hex(eth.estimate_gas(_call(call))),
            "eth_sendTransaction": lambda call: "0x" + eth.send_transaction(_call(call)).hex(),
            "eth_sendRawTransaction": lambda raw: "0x" + eth.send_raw_transaction(raw).hex(),
            "eth_getTransactionReceipt": self._receipt,
        }
        return run[method](*params)

    def _receipt(self, transaction: str) -> Any:
        try:
            found = self.web3.eth.get_transaction_receipt(transaction)
        except TransactionNotFound:
            return None
        logs = [
            {
                "address": log["address"],
                "topics": ["0x" + topic.hex() for topic in log["topics"]],
                "data": "0x" + bytes(log["data"]).hex(),
            }
            for log in found["logs"]
        ]
        return {"status": hex(found["status"]), "blockNumber": hex(found["blockNumber"]), "logs": logs}


def _sum(address: str) -> str:
    return Web3.to_checksum_address(address)


def _call(fields: dict[str, Any]) -> dict[str, Any]:
    numbers = ("value", "gas", "gasPrice", "nonce", "chainId")
    call = {name: int(value, 16) if name in numbers else value for name, value in fields.items()}
    return {name: _sum(value) if name in ("from", "to") else value for name, value in call.items()}


def _revert(message: str) -> bytes:
    """Return the revert's bytes, which eth-tester only writes into its message."""
    literal = message.removeprefix("execution reverted: ")
    return ast.literal_eval(literal) if literal.startswith(("b'", 'b"')) else b""


def _handler(devnet: Devnet) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            reply = {"jsonrpc": "2.0", "id": body["id"]}
            try:
                reply["result"] = devnet.answer(body["method"], body["params"])
            except ConnectionError:
                self.close_connection = True
                return
            except (ContractLogicError, TransactionFailed) as error:
                data = "0x" + _revert(str(error)).hex()
                reply["error"] = {"code": 3, "message": "execution reverted", "data": data}
            except ValueError as error:
                reply["error"] = {"code": -32000, "message": str(error)}
            data = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler
