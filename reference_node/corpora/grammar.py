"""Sentence patterns: how a template and a table row become a text.

A template holds slots and alternatives. `[one|two]` takes one of its parts. `{name}` is the value of the table row's
column, or a pick from the list of that name that stays the same within one row; `{name2}` is another pick from the
same list. `{Name}` begins with a capital letter, `{a name}` has an indefinite article (none before a value that a
table marks with `=` as a mass noun).
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

ALTERNATIVES = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
SLOT = re.compile(r"\{(a |A )?([A-Za-z]+?)(\d?)\}")


def read_table(text: str) -> list[dict[str, str]]:
    r"""Return the rows of a table whose first line names the columns and whose cells are parted by `|`.

    Examples
    --------
    >>> read_table("name | home\nbee | a hive")
    [{'name': 'bee', 'home': 'a hive'}]
    """
    lines = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    return [dict(zip(lines[0], cells, strict=True)) for cells in lines[1:]]


class Row:
    """One table row with the picks made for it, so that a prompt and its answer speak of the same things.

    Parameters
    ----------
    values
        Columns of the table row.
    lists
        Words to pick from, by name.
    draw
        The generator of the picks.
    """

    def __init__(
        self, values: Mapping[str, str], lists: Mapping[str, Sequence[str]], draw: random.Random
    ) -> None:
        self.values = dict(values)
        self.lists, self.draw = lists, draw

    def fill(self, template: str) -> str:
        """Return the template with every alternative chosen and every slot filled."""
        chosen = ALTERNATIVES.sub(lambda match: self.draw.choice(match[1].split("|")), template)
        return SLOT.sub(self._slot, chosen)

    def _slot(self, match: re.Match[str]) -> str:
        article, name, number = match.groups()
        value = self._value(name[0].lower() + name[1:], number)
        mass, value = value.startswith("="), value.removeprefix("=")
        if article and not mass:
            value = f"{'an' if value[0].lower() in 'aeiou' else 'a'} {value}"
        capital = article == "A " if article else name[0].isupper()
        return value[0].upper() + value[1:] if capital else value

    def _value(self, name: str, number: str) -> str:
        key = name + number
        if key not in self.values:
            taken = {value for used, value in self.values.items() if used.rstrip("0123456789") == name}
            self.values[key] = self.draw.choice([word for word in self.lists[name] if word not in taken])
        return self.values[key]
