"""Estimates: the gas limit that a message needs, and the access list that it would use.

Rule decided here: an estimate is a limit with which the message was seen to succeed. The gas before refunds is tried
first, since it is enough for all code that does not look at its gas; then the limits above it are halved down to one
that is at most 1 part in 64 too high.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sim.chain.backend import ChainError
from sim.chain.intrinsic import intrinsic_gas
from sim.chain.pyevm import PRECOMPILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sim.chain.execution import Execution
    from sim.chain.message import AccessList, Message, Override, Rules
    from sim.chain.views import StateView

ROUNDS = 8


def gas_cap(view: StateView, message: Message, rules: Rules) -> int:
    """Return the most gas that a message can have: its own limit, the block's, and what its sender can pay."""
    cap = rules.gas_limit if message.gas is None else min(message.gas, rules.gas_limit)
    if message.max_fee:
        cap = min(cap, max(view.balance(message.sender) - message.value, 0) // message.max_fee)
    return cap


def estimate_gas(
    view: StateView, message: Message, rules: Rules, overrides: Mapping[bytes, Override] | None = None
) -> tuple[int, Execution]:
    """Return a gas limit that is enough, and the execution with all the gas there is; if that failed, 0.

    Raises
    ------
    ChainError
        If the message cannot even begin.
    """
    cap = gas_cap(view, message, rules)
    needed = intrinsic_gas(message)
    if cap < needed:
        raise ChainError(f"gas required exceeds allowance ({cap}); the message needs {needed} to begin")
    full = view.peek(replace(message, gas=cap), overrides=overrides)
    if full.status == 0:
        return 0, full

    def succeeds(gas: int) -> bool:
        return view.peek(replace(message, gas=gas), overrides=overrides).status == 1

    high, low = cap, max(full.gas_spent, needed) - 1
    guesses = [low + 1, (low + 1) * 64 // 63 + 1]
    while high - low > max(1, high // 64):
        guess = guesses.pop(0) if guesses else (low + high) // 2
        if not low < guess < high:
            guess = (low + high) // 2
        if succeeds(guess):
            high = guess
            guesses = []
        else:
            low = guess
    return high, full


def access_list(
    view: StateView, message: Message, rules: Rules, overrides: Mapping[bytes, Override] | None = None
) -> tuple[AccessList, Execution]:
    """Return the access list with which a message would run, and that run.

    The list is made again until it stays the same, because gas that it saves can lead code elsewhere.
    """
    found: AccessList = message.access_list
    message = replace(message, gas=gas_cap(view, message, rules))
    execution, keys = view.touched(message, overrides=overrides)
    for _ in range(ROUNDS):
        known = {message.sender, message.to or execution.created or b"", rules.coinbase} | PRECOMPILES
        following = _as_list(keys, known)
        if following == found:
            break
        found = following
        execution, keys = view.touched(replace(message, access_list=found), overrides=overrides)
    return found, execution


def _as_list(keys: Iterable[bytes], known: set[bytes]) -> AccessList:
    slots: dict[bytes, set[int]] = {}
    for key in keys:
        address, slot = key[:20], key[20:]
        if slot:
            slots.setdefault(address, set()).add(int.from_bytes(slot, "big"))
        elif address not in known:
            slots.setdefault(address, set())
    return tuple((address, tuple(sorted(found))) for address, found in sorted(slots.items()))
