"""Executes messages on titanoboa's environment; a program of its own, because it may run in another environment.

It reads one JSON object per line and answers each with one. It needs titanoboa and the standard library alone.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any

COINS = 10**24


def main() -> None:
    """Answer requests until there are no more."""
    env = importlib.import_module("boa.environment").Env()
    operations: dict[str, Any] = {"deploy": _deploy, "run": _run, "jump": _jump, "fund": _fund}
    for line in sys.stdin:
        request = json.loads(line)
        sys.stdout.write(json.dumps(operations[request.pop("do")](env, **request)) + "\n")
        sys.stdout.flush()


def _deploy(env: Any, sender: str, code: str) -> dict[str, Any]:
    address, computation = env.deploy(sender=sender, bytecode=bytes.fromhex(code))
    return {"address": str(address), "failed": bool(computation.is_error)}


def _run(env: Any, messages: list[tuple[str, str, str, int]]) -> dict[str, Any]:
    calls = [(sender, to, bytes.fromhex(data), value) for sender, to, data, value in messages]
    failed = 0
    began = time.perf_counter()
    for sender, to, data, value in calls:
        failed += env.execute_code(to_address=to, sender=sender, data=data, value=value).is_error
    return {"seconds": time.perf_counter() - began, "failed": failed}


def _jump(env: Any, seconds: int) -> dict[str, Any]:
    env.timestamp += seconds
    return {}


def _fund(env: Any, accounts: list[str]) -> dict[str, Any]:
    for account in accounts:
        env.set_balance(account, COINS)
    return {}


if __name__ == "__main__":
    main()
