"""titanoboa as an engine of the bench, in a process and an environment of its own.

Rule decided here: titanoboa's requirements and ours exclude each other (packaging below 25, cbor2 below 6), so it is
reached as a program of another Python, which ``OLSIM_TITANOBOA`` or ``.venv-titanoboa`` names. Its messages have no
envelope: no signature, no intrinsic gas, storage warm from one to the next.
"""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sim.chain.addresses import address_of, hex_address
from sim.chain.artifacts import load
from sim.chain.bench.ours import prepare
from sim.chain.bench.scene import ACCOUNTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.chain.bench.scene import Call

VERSION = "0.2.8"
INSTALL = (
    "needs titanoboa in an environment of its own: python3 -m venv .venv-titanoboa && "
    f".venv-titanoboa/bin/pip install titanoboa=={VERSION} coincurve"
)
WORKER = Path(__file__).with_name("titanoboa_worker.py")


def find_python() -> Path | None:
    """Return the Python whose environment has titanoboa, or None."""
    named = os.environ.get("OLSIM_TITANOBOA")
    path = Path(named) if named else Path(".venv-titanoboa/bin/python")
    if not path.is_file():
        return None
    found = subprocess.run([path, "-c", "import boa"], capture_output=True, check=False)
    return path if found.returncode == 0 else None


class TitanoboaEngine:
    """titanoboa's environment (satisfies `sim.chain.bench.scene.Engine`).

    Parameters
    ----------
    python
        Interpreter with titanoboa.
    """

    def __init__(self, python: Path) -> None:
        self.accounts = [address_of(f"bench {i}") for i in range(ACCOUNTS)]
        self._addresses: dict[str, bytes] = {}
        self._process = subprocess.Popen(
            [python, "-W", "ignore", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._ask(do="fund", accounts=[hex_address(account) for account in self.accounts])

    def __enter__(self) -> Self:
        """Return the engine, whose process ends with the block."""
        return self

    def __exit__(self, *failure: object) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # it may have ended by itself
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=20)

    def deploy(self, name: str, *arguments: object) -> bytes:
        """Create a contract by the first account."""
        artifact = load(name)
        code = artifact.creation_code + artifact.abi.encode_constructor(*arguments)
        answer = self._ask(do="deploy", sender=hex_address(self.accounts[0]), code=code.hex())
        if answer["failed"]:
            raise RuntimeError(f"titanoboa refuses to create {name}")
        self._addresses[name] = bytes.fromhex(answer["address"][2:])
        return self._addresses[name]

    def run(self, calls: Sequence[Call]) -> float:
        """Execute prepared messages; the other process measures."""
        messages = [
            (hex_address(sender), hex_address(to), data.hex(), value)
            for sender, to, data, value in prepare(calls, self.accounts, self._addresses)
        ]
        answer = self._ask(do="run", messages=messages)
        if answer["failed"]:
            raise RuntimeError(f"titanoboa refuses {answer['failed']} of {len(calls)} calls")
        return float(answer["seconds"])

    def jump(self, seconds: int) -> None:
        """Let time pass."""
        self._ask(do="jump", seconds=seconds)

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("titanoboa's process ended")
        answer: dict[str, Any] = json.loads(line)
        return answer
