"""Where a text ends: stop strings, found in the text and not in the tokens.

Rule: generation stops at the first character that completes any stop string, wherever the tokens' borders lie; the
stop string itself is not part of the answer. Text that may still become a stop string is held back, so a client never
sees half of one. How the text is cut into pieces changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence


class StopMatcher:
    """Stop strings over a text that arrives in pieces.

    Parameters
    ----------
    stops
        Strings that end the text; none is empty.

    Examples
    --------
    >>> matcher = StopMatcher(["END"])
    >>> matcher.push("the E"), matcher.push("N"), matcher.push("D of it")
    ('the ', '', '')
    >>> matcher.stopped
    True
    """

    def __init__(self, stops: Sequence[str]) -> None:
        assert all(stops)
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """Return the text that is certain to belong to the answer; `stopped` says whether it has ended."""
        if not self._stops or self.stopped:
            return "" if self.stopped else text
        text = self._held + text
        found = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)[1]]
        keep = self._undecided(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """Return what was held back, because no more text comes."""
        held, self._held = self._held, ""
        return held

    def _undecided(self, text: str) -> int:
        """Return the length of the longest ending of the text that begins a stop string."""
        longest = min(len(text), max(map(len, self._stops)) - 1)
        for length in range(longest, 0, -1):
            ending = text[-length:]
            if any(stop.startswith(ending) for stop in self._stops):
                return length
        return 0
