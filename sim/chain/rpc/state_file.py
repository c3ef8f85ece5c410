"""State file: what was asked of a network, so that another run can go on from there.

Rule decided here: the file holds every request that changed something, one a line, below a line that says what the
network was built from. A network is deterministic, so the same requests lead to the same blocks; a file of another
network, or one whose requests are refused now, is not taken. A line that was not finished is as if it had not been
asked.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from models.errors import InputError, Problem
from sim.chain.artifacts import artifacts_sha256
from sim.chain.rpc.errors import RpcError

if TYPE_CHECKING:
    from pathlib import Path

    from sim.chain.rpc.devnet import Devnet
    from sim.chain.rpc.dispatcher import Dispatcher
    from sim.chain.rpc.node import Node

VERSION = 1
TICK = "tick"


class StateFile:
    """The requests of one network on disk.

    Parameters
    ----------
    path
        Where; created if there is none.
    network
        What they are asked of.
    """

    def __init__(self, path: Path, network: Devnet) -> None:
        self._path, self._network = path, network
        self._head = {"olsim_state": VERSION, "network": fingerprint(network)}
        self._replaying = False

    def replay(self, dispatchers: dict[str, Dispatcher]) -> int:
        """Ask again what the file holds, and begin it if there is none; return the number of requests.

        Raises
        ------
        InputError
            If it is no state file, is another network's, or a request is refused.
        """
        try:
            if not self._path.exists():
                self._path.write_text(json.dumps(self._head) + "\n", encoding="utf-8")
                return 0
            text = self._path.read_bytes()
            finished = text[: text.rfind(b"\n") + 1]
            if finished != text:
                self._path.write_bytes(finished)
        except OSError as error:
            raise self._problem(f"cannot be used: {error.strerror}") from error
        head, *lines = finished.splitlines() or [b""]
        self._check(head)
        self._replaying = True
        try:
            for number, line in enumerate(lines, 2):
                self._ask(number, line, dispatchers)
        finally:
            self._replaying = False
        return len(lines)

    def observe(self, node: Node, method: str, params: Any) -> None:
        """Write down a request that was done."""
        self._append([node.name, method, params])

    def tick(self) -> None:
        """Mine at an interval, and write it down."""
        self._network.tick()
        self._append([TICK])

    def _append(self, entry: list[Any]) -> None:
        if not self._replaying:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry, separators=(",", ":")) + "\n")

    def _check(self, head: bytes) -> None:
        try:
            found = json.loads(head)
        except ValueError as error:
            raise self._problem("is no state file: its first line is not JSON") from error
        if found != self._head:
            raise self._problem(
                "is the state of another network: contracts, scenario, accounts, base fee or block time differ"
            )

    def _ask(self, number: int, line: bytes, dispatchers: dict[str, Dispatcher]) -> None:
        try:
            entry = json.loads(line)
            if entry == [TICK]:
                self._network.tick()
                return
            name, method, params = entry
            dispatchers[name].call(method, params)
        except (ValueError, TypeError, KeyError) as error:
            raise self._problem(f"line {number} is no request") from error
        except RpcError as error:
            raise self._problem(f"line {number} is refused: {error.message}") from error

    def _problem(self, message: str) -> InputError:
        return InputError([Problem(message, where=str(self._path))])


def fingerprint(network: Devnet) -> str:
    """Return a hash of everything that a network is built from."""
    parts = (artifacts_sha256(), network.deployed.spec, network.options)
    return hashlib.sha256(repr(parts).encode()).hexdigest()
