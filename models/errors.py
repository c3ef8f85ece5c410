"""Input errors: every mistake of a file is said at once, with its place, its value and what is allowed.

Rule decided here: bad input is one exception carrying all messages, so that a command can print them together and
leave with exit code 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in the input.

    Parameters
    ----------
    message
        What is wrong, the offending value and the allowed range.
    path
        Dotted path of the value inside its file, or "" where there is none.
    where
        ``file:line:column``, ``file`` or "" where the input has no file.
    """

    message: str
    path: str = ""
    where: str = ""

    def __str__(self) -> str:
        """Return ``where: path: message`` without the parts that are empty."""
        return ": ".join(part for part in (self.where, self.path, self.message) if part)


class InputError(ValueError):
    """Bad input from a person: all problems of one reading.

    Parameters
    ----------
    problems
        The problems found, or one message.
    """

    def __init__(self, problems: Iterable[Problem | str] | str) -> None:
        if isinstance(problems, str):
            problems = [problems]
        self.problems = tuple(p if isinstance(p, Problem) else Problem(p) for p in problems)
        # the arguments as given: SimPy and pickle make the error anew from them
        super().__init__(self.problems)

    def __str__(self) -> str:
        """Return one problem per line."""
        return "\n".join(str(problem) for problem in self.problems)
