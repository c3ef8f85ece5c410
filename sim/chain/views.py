"""Views: the state of a chain as one of its blocks sees it.

Rule decided here: the present block reads the state as it is; the latest block that ended reads the same state, under
its own number and time, so that what a development network changed by hand is seen at once; an earlier block reads
the state that its root names. Proofs are always against the root in a block's header.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from sim.chain.backend import ChainError
from sim.chain.header import NO_STATE_ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.chain.backend import AccountProof
    from sim.chain.blocks import BlockBook
    from sim.chain.execution import Execution
    from sim.chain.message import BlockEnv, Message, Override
    from sim.chain.pyevm import PyEvm

KEPT_VIEWS = 16


class StateView:
    """State that one block sees.

    Parameters
    ----------
    evm
        Where the state is read.
    env
        Block that calls run in.
    proofs
        Where the state of the block's root is read.
    """

    def __init__(self, evm: PyEvm, env: BlockEnv, proofs: PyEvm) -> None:
        self._evm, self.env, self._proofs = evm, env, proofs

    def balance(self, address: bytes) -> int:
        """Native balance, wei."""
        return self._evm.balance(address)

    def nonce(self, address: bytes) -> int:
        """Transaction count."""
        return self._evm.nonce(address)

    def code(self, address: bytes) -> bytes:
        """Deployed code."""
        return self._evm.code(address)

    def storage(self, address: bytes, slot: int) -> int:
        """One storage word."""
        return self._evm.storage(address, slot)

    def proof(self, address: bytes, slots: tuple[int, ...]) -> AccountProof:
        """Return an account and storage words with the nodes that prove them (EIP-1186)."""
        return self._proofs.proof(address, slots)

    def peek(
        self, message: Message, *, overrides: Mapping[bytes, Override] | None = None, traced: bool = False
    ) -> Execution:
        """Run a message and undo it."""
        with self._evm.seen_from(self.env):
            return self._evm.peek(message, overrides=overrides, traced=traced)

    def touched(
        self, message: Message, *, overrides: Mapping[bytes, Override] | None = None
    ) -> tuple[Execution, list[bytes]]:
        """Run a message, undo it, and return the keys that it made warm."""
        with self._evm.seen_from(self.env):
            return self._evm.touched(message, overrides=overrides)


class Views:
    """Makes views and keeps the last few.

    Parameters
    ----------
    evm
        Present state.
    book
        Blocks.
    """

    def __init__(self, evm: PyEvm, book: BlockBook) -> None:
        self._evm, self._book = evm, book
        self._kept: OrderedDict[tuple[bytes, BlockEnv], PyEvm] = OrderedDict()

    def view(self, number: int) -> StateView:
        """Return the state that a block sees.

        Raises
        ------
        ChainError
            If there is no such block yet, or it kept no state.
        """
        present = self._book.present.env
        if number == present.number:
            return StateView(self._evm, present, self._evm)
        if not 0 <= number < present.number:
            raise ChainError(f"there is no block {number}; the latest is {present.number - 1}")
        extent = self._book.extent(number)
        if extent.state_root == NO_STATE_ROOT:
            raise ChainError(f"block {number} kept no state; this chain seals no blocks")
        rooted = self._rooted(extent.state_root, extent.env)
        return StateView(self._evm if number == present.number - 1 else rooted, extent.env, rooted)

    def _rooted(self, root: bytes, env: BlockEnv) -> PyEvm:
        key = (root, env)
        if key not in self._kept:
            self._kept[key] = self._evm.at(root, env)
            if len(self._kept) > KEPT_VIEWS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]
