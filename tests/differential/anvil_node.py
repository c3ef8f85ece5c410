"""anvil as a test dependency: found at run time beside this file or on PATH, started on a free port."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
MISSING = "anvil is not installed: npm ci in tests/differential"


def find_anvil():
    """Return the binary of the npm package for this platform, or one on PATH, or None."""
    shipped = sorted(HERE.glob("node_modules/@foundry-rs/anvil-*/bin/anvil*"))
    return str(shipped[0]) if shipped else shutil.which("anvil")


needs_anvil = pytest.mark.skipif(find_anvil() is None, reason=MISSING)


class Node:
    """A running node."""

    def __init__(self, port):
        self.address = f"127.0.0.1:{port}"
        self._connection = http.client.HTTPConnection(self.address, timeout=60)

    def __call__(self, method, *params):
        """Return the result of a call."""
        return self._result(self._post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))

    def each(self, method, many):
        """Return the results of many calls of one method that read, in order."""
        calls = [{"jsonrpc": "2.0", "id": i, "method": method, "params": p} for i, p in enumerate(many)]
        parts = [self._post(calls[i : i + 200]) for i in range(0, len(calls), 200)]
        answers = sorted((answer for part in parts for answer in part), key=lambda answer: answer["id"])
        return [self._result(answer) for answer in answers]

    def close(self):
        self._connection.close()

    def _post(self, body):
        self._connection.request("POST", "/", json.dumps(body), {"Content-Type": "application/json"})
        return json.loads(self._connection.getresponse().read())

    @staticmethod
    def _result(answer):
        assert "error" not in answer, answer["error"]
        return answer["result"]


@contextmanager
def anvil(*options):
    """Run a node on a free port of this machine; it ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [find_anvil(), "--port", str(port), "--quiet", "--accounts", "1", "--hardfork", "prague"]
    process = subprocess.Popen([*words, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    node = Node(port)
    try:
        _wait(node, process)
        yield node
    finally:
        node.close()
        process.terminate()
        process.communicate(timeout=20)


def _wait(node, process):
    for _ in range(200):
        try:
            node("eth_chainId")
        except OSError:
            node.close()
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.05)
        else:
            return
    raise AssertionError("anvil does not answer")
