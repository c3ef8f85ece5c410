"""Suggestions for words that were probably meant otherwise.

Rule decided here: a suggestion is made only when one known word is close.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_LIST = 24
"""Longest list of words that an error shows."""


def close(word: str, known: Iterable[str]) -> str:
    """Return the known word that is close to `word`, or ""."""
    return next(iter(get_close_matches(word, list(known), n=1, cutoff=0.65)), "")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` or, where nothing is close, the list of what is known, if it is short.

    Parameters
    ----------
    word
        What was written.
    known
        What may be written.

    Returns
    -------
    str
        The end of an error message.
    """
    names = list(known)
    found = close(word, names)
    if found:
        return f"; did you mean '{found}'?"
    return f"; expected one of {', '.join(sorted(names))}" if 0 < len(names) <= LONGEST_LIST else ""
