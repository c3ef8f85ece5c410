"""Worker: the one thread that touches the chains.

Rule decided here: requests are executed one after the other, in the order in which they came; reading and writing
sockets goes on meanwhile. The thread's stack is large, because a call in the EVM is several calls in Python and
contracts may nest 1,024 of them.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

STACK_BYTES = 512 * 1024 * 1024
"""Address space, of which what is used costs memory and nothing else."""


class Worker:
    """A thread that executes one function at a time."""

    def __init__(self) -> None:
        before = threading.stack_size(STACK_BYTES)
        try:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="chain")
            self._thread.submit(int).result()
        finally:
            threading.stack_size(before)

    async def run(self, function: Callable[[], T]) -> T:
        """Execute a function after those before it and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def run_now(self, function: Callable[[], T]) -> T:
        """Execute a function and wait for it."""
        return self._thread.submit(function).result()

    def close(self) -> None:
        """End the thread once it has finished what it does."""
        self._thread.shutdown(cancel_futures=True)
