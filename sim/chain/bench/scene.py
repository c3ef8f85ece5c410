"""Scene: the contracts and the calls that every engine executes.

Rule decided here: transfers of tokens, first votes and claims with a Merkle proof, by accounts that have done so before
or not alike in every engine. What comes before a call (proposals, payout roots) is not timed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from models.merkle import payout_leaf, payout_tree
from sim.chain.abi import encode_values
from sim.chain.addresses import keccak

if TYPE_CHECKING:
    from collections.abc import Sequence

ACCOUNTS = 20
"""Accounts of a scene, and calls of a round."""

COIN = 10**18
DELAY_S, PERIOD_S = 60, 30 * 86_400
KINDS = ("transfer", "vote", "claim")


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one account to one contract; addresses are 20 bytes."""

    who: int
    contract: str
    function: str
    arguments: tuple[Any, ...]
    value: int = 0


class Engine(Protocol):
    """Something that executes calls."""

    @property
    def accounts(self) -> Sequence[bytes]:
        """Accounts that call, 20 bytes each."""

    def deploy(self, name: str, *arguments: object) -> bytes:
        """Create a contract by the first account, remember it by its name, and return its address."""

    def run(self, calls: Sequence[Call]) -> float:
        """Execute calls, each with its receipt or result, and return the seconds that it took.

        Raises
        ------
        RuntimeError
            If one is refused.
        """

    def jump(self, seconds: int) -> None:
        """Let time pass."""


class Scene:
    """One engine with everything deployed.

    Parameters
    ----------
    engine
        Executes.
    rounds
        How many rounds of calls there will be.
    """

    def __init__(self, engine: Engine, rounds: int) -> None:
        self.engine = engine
        first = engine.accounts[0]
        engine.deploy("OPEN", "OpenLedger", "OPEN", 10**9 * COIN, first)
        gopen = engine.deploy("GOPEN")
        timelock = engine.deploy("Timelock", DELAY_S, [], [], first)
        engine.deploy("OpenGovernor", gopen, timelock, DELAY_S, PERIOD_S, COIN, 50_000)
        engine.deploy("AttributionDistributor", timelock, first)
        everybody = range(ACCOUNTS)
        engine.run([Call(0, "OPEN", "transfer", (a, 10**6 * COIN)) for a in engine.accounts])
        engine.run([Call(i, "GOPEN", "deposit", (), 10 * COIN) for i in everybody])
        engine.run([Call(i, "GOPEN", "delegate", (engine.accounts[i],)) for i in everybody])
        engine.jump(1)
        self._proposals = [self._propose(timelock, number) for number in range(rounds + 1)]
        engine.jump(2 * DELAY_S)

    def step(self, kind: str, number: int) -> float:
        """Do one round of a kind and return seconds per call."""
        calls = {"transfer": self._transfers, "vote": self._votes, "claim": self._claims}[kind](number)
        return self.engine.run(calls) / len(calls)

    def _propose(self, timelock: bytes, number: int) -> int:
        text = f"proposal {number}"
        calls: tuple[Any, ...] = ([timelock], [0], [b""])
        self.engine.run([Call(0, "OpenGovernor", "propose", (*calls, text))])
        encoded = encode_values(
            ["address[]", "uint256[]", "bytes[]", "bytes32"], [*calls, keccak(text.encode())]
        )
        return int.from_bytes(keccak(encoded), "big")

    def _transfers(self, number: int) -> list[Call]:
        accounts = self.engine.accounts
        return [
            Call(i, "OPEN", "transfer", (accounts[(i + 1) % ACCOUNTS], COIN + number))
            for i in range(ACCOUNTS)
        ]

    def _votes(self, number: int) -> list[Call]:
        return [Call(i, "OpenGovernor", "castVote", (self._proposals[number], 1)) for i in range(ACCOUNTS)]

    def _claims(self, number: int) -> list[Call]:
        """Post a root in which everybody has earned one coin more, and return everybody's claim."""
        owed = (number + 1) * COIN
        tree = payout_tree([(account, owed) for account in self.engine.accounts], keccak)
        epoch = (number + 1, bytes(32), number, tree.root, ACCOUNTS * owed, bytes(32))
        self.engine.run([Call(0, "AttributionDistributor", "postEpoch", epoch, ACCOUNTS * COIN)])
        return [
            Call(i, "AttributionDistributor", "claim", (a, owed, tree.proof(payout_leaf(a, owed, keccak))))
            for i, a in enumerate(self.engine.accounts)
        ]
