"""Params: the arguments of one request, taken by position.

Rule decided here: every argument is taken once with the kind it must have; too few, too many and wrong kinds are
-32602, with the argument's name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from sim.chain.rpc.errors import INVALID_PARAMS, RpcError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MISSING: Any = object()


class Params:
    """Arguments in order.

    Parameters
    ----------
    values
        The request's `params`; none are given as None.
    """

    def __init__(self, values: Any) -> None:
        if values is not None and not isinstance(values, list):
            raise RpcError(INVALID_PARAMS, "params is not a list; arguments are taken by position")
        self._values: list[Any] = values or []
        self._next = 0

    def take(self, what: str, parse: Callable[[Any, str], T], default: Any = MISSING) -> T:
        """Return the next argument.

        Parameters
        ----------
        what
            Its name in errors.
        parse
            Reads it.
        default
            What stands for a missing or null one; it is required when not given.
        """
        value = self._values[self._next] if self._next < len(self._values) else None
        given = self._next < len(self._values)
        self._next += 1
        if value is None and default is not MISSING:
            found: T = default
            return found
        if not given:
            raise RpcError(INVALID_PARAMS, f"missing value for required argument {self._next - 1}: {what}")
        return parse(value, what)

    def end(self) -> None:
        """Refuse arguments that nothing took."""
        if len(self._values) > self._next:
            raise RpcError(
                INVALID_PARAMS, f"too many arguments, want at most {self._next}, got {len(self._values)}"
            )
