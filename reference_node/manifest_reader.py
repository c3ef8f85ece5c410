"""Checked values of a manifest: each reader returns a usable value and notes what is wrong with its path.

Reading goes on after a mistake, so that a person sees all of them at once; `finish` raises them together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from models.errors import InputError, Problem
from reference_node.strict_json import short

MANIFEST_BYTES_MAX = 512 << 10
MANIFEST_DEPTH_MAX = 12
PROBLEMS_MAX = 50
ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
ZERO_ADDRESS = "0x" + "0" * 40
SHA256 = re.compile(r"[0-9a-f]{64}")
MISSING = object()  # stands for a required key that is absent and was noted as such
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


class Reader:
    """Reads the values of one file and keeps what is wrong with them.

    Parameters
    ----------
    where
        File that the problems name.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.problems: list[Problem] = []

    def say(self, path: str, value: object, rule: str, what: str = "") -> None:
        """Note that the value at a path breaks a rule; a missing one was noted before."""
        if value is MISSING:
            return
        shown = short(repr(value))
        self.problems.append(Problem(f"{f'{what} is ' if what else ''}{shown}; {rule}", path, self.where))

    def finish(self) -> None:
        """Raise all problems as one `InputError`; nothing when there are none."""
        if len(self.problems) > PROBLEMS_MAX:
            more = Problem(f"and {len(self.problems) - PROBLEMS_MAX} more", where=self.where)
            raise InputError([*self.problems[:PROBLEMS_MAX], more])
        if self.problems:
            raise InputError(self.problems)

    def mapping(
        self, value: Any, path: str, required: tuple[str, ...], optional: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """Return the known keys of a mapping; required ones that are absent hold `MISSING`."""
        if not isinstance(value, dict):
            self.say(path, value, f"must be a mapping with {', '.join(required)}")
            return dict.fromkeys(required, MISSING)
        prefix = f"{path}." if path else ""
        for key in required:
            if key not in value:
                self.problems.append(Problem("is missing", f"{prefix}{key}", self.where))
        allowed = required + optional
        for key in sorted(value.keys() - set(allowed)):
            self.say(f"{prefix}{short(key)}", value[key], f"unknown key; allowed {', '.join(allowed)}")
        return dict.fromkeys(required, MISSING) | {key: value[key] for key in allowed if key in value}

    def sequence(self, value: Any, path: str, count_max: int) -> Iterator[tuple[str, Any]]:
        """Yield path and value of each entry of a list of bounded length."""
        if not isinstance(value, list):
            self.say(path, value, "must be a list")
            return
        if len(value) > count_max:
            self.say(path, len(value), f"allowed {count_max} entries")
            return
        for i, entry in enumerate(value):
            yield f"{path}[{i}]", entry

    def integer(self, value: Any, path: str, low: int, high: int) -> int:
        """Return a whole number from low to high."""
        if type(value) is int and low <= value <= high:
            return value
        self.say(path, value, f"allowed whole numbers from {low} to {high}")
        return 0

    def text(self, value: Any, path: str, length_max: int) -> str:
        """Return text of bounded length without control characters other than line breaks and tabs."""
        if not isinstance(value, str) or len(value) > length_max:
            self.say(path, value, f"must be text of at most {length_max} characters")
            return ""
        if not all(c.isprintable() or c in "\n\t" for c in value):
            self.say(path, value, "control characters are not allowed")
        return value

    def name(self, value: Any, path: str) -> str:
        """Return an id of up to 64 letters, digits and `._:-`."""
        if isinstance(value, str) and NAME.fullmatch(value):
            return value
        self.say(
            path, value, "must be 1 to 64 letters, digits, '.', '_', ':' or '-', a letter or digit first"
        )
        return ""

    def sha256(self, value: Any, path: str) -> str | None:
        """Return a SHA-256 in lower-case hexadecimal, or None."""
        if value is None or (isinstance(value, str) and SHA256.fullmatch(value)):
            return value
        self.say(path, value, "must be null or 64 lower-case hexadecimal digits")
        return None

    def address(self, value: Any, path: str) -> str:
        """Return an address in lower case; one in mixed case must carry the checksum of EIP-55."""
        if not isinstance(value, str) or not ADDRESS.fullmatch(value):
            self.say(path, value, "must be an address: 0x and 40 hexadecimal digits")
            return ""
        lower = value.lower()
        if lower == ZERO_ADDRESS:
            self.say(path, value, "is the zero address: what it is paid is lost")
        elif value[2:] not in (lower[2:], lower[2:].upper()) and value != checksum_address(lower):
            self.say(path, value, "is mistyped: its mixed case is not the checksum of EIP-55")
        return lower

    def facts(self, value: Any, path: str, bytes_max: int) -> dict[str, Any] | None:
        """Return a mapping of bounded size, or None."""
        if value is None:
            return None
        if not isinstance(value, dict):
            self.say(path, value, "must be null or a mapping")
            return None
        size = len(json.dumps(value))
        if size > bytes_max:
            self.say(path, size, f"allowed {bytes_max} bytes of JSON", what="its size")
        return value


def checksum_address(address: str) -> str:
    """Return an address with the upper-case letters that EIP-55 asks for.

    Parameters
    ----------
    address
        0x and 40 lower-case hexadecimal digits.

    Examples
    --------
    >>> checksum_address("0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed")
    '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed'
    """
    from eth_hash.auto import keccak

    digits = keccak(address[2:].encode()).hex()
    return "0x" + "".join(
        c.upper() if int(digit, 16) >= 8 else c for c, digit in zip(address[2:], digits, strict=False)
    )
