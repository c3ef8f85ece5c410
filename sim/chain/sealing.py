"""Sealing: when a block of a chain ends and at what time the next one begins.

Rule decided here: only the present block can get another time, only while nothing is in it, and time never goes back.
What a sealing chain writes before a block's first transaction is written when the first one comes or the block ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.chain.backend import ChainError
from sim.chain.header import Extent, next_base_fee
from sim.chain.message import BlockEnv
from sim.chain.state import AccountState

if TYPE_CHECKING:
    from sim.chain.blocks import BlockBook
    from sim.chain.logindex import LogIndex
    from sim.chain.message import Rules


class SealingChain(AccountState):
    """The clock of a chain and the ends of its blocks."""

    rules: Rules
    sealed: bool
    automine: bool
    blocks: BlockBook
    _log_index: LogIndex
    _entered: bool

    @property
    def time(self) -> int:
        """Timestamp of the present block, seconds."""
        return self._evm.env.timestamp

    @property
    def block_number(self) -> int:
        """Number of the present block, from 1."""
        return self._evm.env.number

    @property
    def base_fee(self) -> int:
        """Base fee of the present block, wei per gas."""
        return self._evm.env.base_fee

    @property
    def present_is_empty(self) -> bool:
        """Whether no transaction is in the present block."""
        return self.blocks.present.first_transaction == len(self.blocks.receipts)

    def set_time(self, timestamp: int) -> None:
        """Begin the next block at `timestamp`; where every transaction ends its block, the empty one moves there.

        Raises
        ------
        ChainError
            If it is not later than the present block.
        """
        if timestamp <= self.time:
            raise ChainError(f"time {timestamp} is not after the present block's {self.time}")
        if self.automine and self.present_is_empty:
            self.schedule(timestamp)
        else:
            self.seal(timestamp)

    def schedule(self, timestamp: int) -> None:
        """Give the present block another time while nothing is in it.

        Raises
        ------
        ChainError
            If there is a transaction in it, or the time is not after the latest block's.
        """
        before = self.blocks.extent(self.blocks.latest).env.timestamp
        if not self.present_is_empty:
            raise ChainError("the present block has transactions; its time is fixed")
        if timestamp <= before:
            raise ChainError(f"time {timestamp} is not after the latest block's {before}")
        present = self.blocks.present
        present.env = BlockEnv(present.env.number, timestamp, present.env.base_fee)
        self._evm.set_env(present.env)

    def seal(self, next_time: int | None = None) -> int:
        """End the present block, empty or not, and begin the next one.

        Parameters
        ----------
        next_time
            Its time, seconds; one second later when None.

        Returns
        -------
        int
            Number of the block that ended.
        """
        self._enter()
        present = self.blocks.present
        env = present.env
        if self.sealed:
            present.state_root = self._evm.save()
        fee = env.base_fee
        if fee:
            fee = next_base_fee(fee, self.blocks.gas_used(env.number), self.rules.gas_limit)
        following = BlockEnv(env.number + 1, env.timestamp + 1 if next_time is None else next_time, fee)
        self.blocks.begin(Extent(following, len(self.blocks.receipts), len(self._log_index)))
        self._evm.set_env(following)
        self._entered = False
        return env.number

    def _enter(self) -> None:
        """Write what a block writes before its first transaction."""
        if not self._entered:
            self._entered = True
            if self.sealed:
                self._evm.record_parent(self.blocks.hash_of(self.block_number - 1))
