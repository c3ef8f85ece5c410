"""The network on its ports: HTTP, WebSocket, limits, origins, its file of state, and how it begins and ends."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("eth", reason="needs the chain extra (py-evm)")
pytest.importorskip("uvicorn", reason="needs the chain extra (uvicorn)")
pytest.importorskip("websockets", reason="needs the chain extra (websockets)")

from websockets.sync.client import connect

from sim.chain.rpc.dispatcher import REQUEST_BYTES_MAX
from tests.differential.served_network import served

pytestmark = pytest.mark.slow

ORIGIN = "http://localhost:3000"
SERVE = [sys.executable, "-m", "sim.cli", "chain", "serve"]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    with served(tmp_path_factory.mktemp("network"), "--accounts", "2", "--allow-origin", ORIGIN) as running:
        yield running


def exchange(url, body, method="POST", **headers):
    """Return status, headers and text of an answer."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname, parts.port, timeout=30)
    try:
        connection.request(method, "/", body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def ask(url, method, *params):
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
    status, _, text = exchange(url, json.dumps(request))
    assert status == 200
    return json.loads(text)


def test_each_port_is_one_chain(network):
    assert ask(network.l2, "eth_chainId")["result"] == hex(network.deployment["chain_id"])
    assert ask(network.l1, "eth_chainId")["result"] == hex(network.deployment["l1"]["chain_id"])
    status, _, text = exchange(network.l2, None, method="GET")
    assert (status, b"POST" in text) == (200, True)
    assert exchange(network.l2, None, method="DELETE")[0] == 405


def test_answers_to_malformed_requests_are_json(network):
    for body, code in ((b"{", -32700), (b"[]", -32600), (b"\xff", -32700), (b"", -32700)):
        status, headers, text = exchange(network.l2, body)
        assert (status, headers["content-type"]) == (200, "application/json")
        assert json.loads(text)["error"]["code"] == code


def test_a_body_that_is_too_long_is_not_read(network):
    status, _, text = exchange(network.l2, b" " * (REQUEST_BYTES_MAX + 1))
    assert (status, json.loads(text)["error"]["code"]) == (413, -32600)
    assert ask(network.l2, "eth_blockNumber")["result"]


def test_only_allowed_pages_may_ask(network):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"})
    for origin, wanted in ((ORIGIN, 200), ("http://elsewhere.example", 403), ("null", 403)):
        status, headers, _ = exchange(network.l2, body, Origin=origin)
        assert status == wanted
        assert headers.get("access-control-allow-origin") == (ORIGIN if wanted == 200 else None)
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    assert exchange(network.l2, None, method="OPTIONS", Origin=ORIGIN, **asking)[0] == 200
    assert exchange(network.l2, None, method="OPTIONS", Origin="http://elsewhere.example", **asking)[0] == 400
    with pytest.raises(Exception, match="403"):
        connect(network.l2.replace("http", "ws"), origin="http://elsewhere.example")


def test_bytes_that_are_no_http_do_not_stop_it(network):
    parts = urlsplit(network.l2)
    for junk in (
        b"\x00\x01\x02" * 100,
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n{",
        b"GET " + b"a" * 70_000,
    ):
        with socket.create_connection((parts.hostname, parts.port), timeout=5) as raw:
            raw.sendall(junk)
    assert ask(network.l2, "eth_blockNumber")["result"]


class Client:
    """A WebSocket that tells answers from news."""

    def __init__(self, socket):
        self.socket = socket
        self.news = []

    def __call__(self, method, *params):
        self.socket.send(json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": list(params)}))
        while "id" not in (message := json.loads(self.socket.recv(timeout=10))):
            self.news.append(message["params"])
        return message.get("result", message.get("error"))

    def next(self):
        return self.news.pop(0) if self.news else json.loads(self.socket.recv(timeout=10))["params"]


@contextmanager
def client_of(url):
    with connect(url.replace("http", "ws")) as socket:
        yield Client(socket)


@pytest.fixture
def client(network):
    with client_of(network.l2) as opened:
        yield opened


def test_subscribers_are_told_what_happens(network, client):
    me = client("eth_accounts")[0]
    gopen = network.deployment["contracts"]["GOPEN"]["address"]
    heads, logs = client("eth_subscribe", "newHeads"), client("eth_subscribe", "logs", {"address": gopen})
    pending = client("eth_subscribe", "newPendingTransactions")
    digest = ask(network.l2, "eth_sendTransaction", {"from": me, "to": gopen, "value": "0x5"})["result"]
    told = [client.next() for _ in range(4)]
    by_subscription = {one["subscription"]: one["result"] for one in told}
    receipt = client("eth_getTransactionReceipt", digest)
    assert by_subscription[heads]["hash"] == receipt["blockHash"]
    assert by_subscription[pending] == digest
    assert [one["result"] for one in told if one["subscription"] == logs] == receipt["logs"]
    assert client("eth_unsubscribe", logs) is True
    assert client("eth_unsubscribe", logs)["code"] == client("eth_subscribe", "dreams")["code"] == -32602
    client.socket.send("{")
    assert json.loads(client.socket.recv(timeout=10))["error"]["code"] == -32700
    assert ask(network.l2, "eth_subscribe", "newHeads")["error"]["code"] == -32601


def test_a_message_that_is_too_long_ends_the_connection_alone(network, client):
    client.socket.send("x" * (REQUEST_BYTES_MAX + 10))
    with pytest.raises(Exception, match=r"1009|closed"):
        client.socket.recv(timeout=10)
    assert ask(network.l2, "eth_blockNumber")["result"]


def test_nested_calls_do_not_end_the_process(network):
    """1,024 calls within one another need a deep stack, in the thread that executes too."""
    target, code = "0x" + "77" * 20, "0x5f5f5f5f5f305af100"
    deep = {"to": target, "gas": hex(59_000_000)}
    assert ask(network.l2, "eth_call", deep, "latest", {target: {"code": code}})["result"] == "0x"
    assert ask(network.l2, "eth_blockNumber")["result"]


def serve(*options, cwd):
    return subprocess.run(
        [*SERVE, *options], capture_output=True, text=True, cwd=cwd, timeout=60, check=False
    )


def test_a_port_in_use_and_flags_out_of_range_are_bad_input(network, tmp_path):
    taken = str(urlsplit(network.l2).port)
    done = serve("--port", taken, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"cannot listen on 127.0.0.1:{taken}: Address already in use" in done.stderr
    for options, words in (
        (("--accounts", "0"), "--accounts 0: expected 1 to 100"),
        (("--base-fee", "-1"), "--base-fee -1: expected 0 to"),
        (("--block-time", "100000"), "--block-time 100000: expected 0 to 86400"),
        (("--port", "70000"), "port 70000: expected 0 to 65535"),
        (("--host", "nowhere.invalid", "--port", "0"), "cannot listen on nowhere.invalid"),
        (("--scenario", "missing.yaml", "--port", "0"), "missing.yaml"),
        (("--deployment", "no/such/folder.json", "--port", "0"), "no/such/folder.json: cannot be written"),
    ):
        done = serve(*options, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, ""), options
        assert words in done.stderr
        assert "Traceback" not in done.stderr


def test_a_state_file_goes_on_where_it_was(tmp_path):
    """Both chains come back to the same blocks; an unfinished line is as if it had not been asked."""
    options = ("--accounts", "2", "--state", str(tmp_path / "state.jsonl"))
    with served(tmp_path, *options) as first:
        me, other = ask(first.l2, "eth_accounts")["result"][:2]
        ask(first.l2, "eth_sendTransaction", {"from": me, "to": other, "value": "0x5"})
        ask(first.l1, "evm_increaseTime", 90_000)
        taken = ask(first.l2, "evm_snapshot")["result"]
        ask(first.l2, "eth_sendTransaction", {"from": me, "to": other, "value": "0x1"})
        ask(first.l2, "evm_revert", taken)
        refused = ask(first.l2, "eth_sendTransaction", {"from": me, "to": other, "value": hex(10**40)})
        assert "error" in refused
        ask(first.l1, "eth_sendTransaction", {"from": other, "to": me, "value": "0x7"})
        heads = [ask(url, "eth_getBlockByNumber", "latest", False)["result"] for url in (first.l1, first.l2)]
    file = tmp_path / "state.jsonl"
    assert len(file.read_text().splitlines()) == 1 + 6
    file.write_text(file.read_text() + '["l2","evm_mine"')
    with served(tmp_path, *options) as second:
        again = [
            ask(url, "eth_getBlockByNumber", "latest", False)["result"] for url in (second.l1, second.l2)
        ]
        assert again == heads
    assert len(file.read_text().splitlines()) == 1 + 6
    for name, change, words in (
        ("other", lambda text: text, "is the state of another network"),
        ("broken", lambda text: text + "[]\n", "line 8 is no request"),
        ("refused", lambda text: text + '["l2","eth_sendRawTransaction",["0x01"]]\n', "line 8 is refused"),
        ("text", lambda text: "hello\n", "is no state file"),
    ):
        path = tmp_path / f"{name}.jsonl"
        path.write_text(change(file.read_text()))
        accounts = "3" if name == "other" else "2"
        done = serve("--port", "0", "--accounts", accounts, "--state", str(path), cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, ""), name
        assert words in done.stderr


def test_blocks_come_at_intervals_by_themselves(tmp_path):
    options = ("--accounts", "1", "--block-time", "1")
    with served(tmp_path, *options) as running, client_of(running.l2) as client:
        client("eth_subscribe", "newHeads")
        heads = [client.next()["result"] for _ in range(2)]
        assert int(heads[1]["number"], 16) == int(heads[0]["number"], 16) + 1


def test_a_person_sees_what_is_served(tmp_path):
    command = [*SERVE, "--port", "0", "--accounts", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        lines = []
        while not lines or lines[-1] != "Ctrl-C ends.":
            lines.append(process.stdout.readline().rstrip("\n"))
        process.terminate()
    text = "\n".join(lines)
    deployment = json.loads(Path(tmp_path, "deployment.json").read_text())
    assert deployment["contracts"]["GOPEN"]["address"] in text
    assert deployment["l1"]["contracts"]["OPEN"]["address"] in text
    assert "keys are PUBLIC" in text
    assert "cacheTimeout: -1" in text
