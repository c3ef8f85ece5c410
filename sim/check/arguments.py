"""Arguments of a formula from plain data, guided by the formula's own annotations.

Rule decided here: lists become int64, float64 or bool arrays where an array is asked for, texts become
dates, durations, fractions or amounts, and a map becomes a dataclass through its `build`, if it has one, or
its fields.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from datetime import date
from enum import Enum
from fractions import Fraction
from types import UnionType
from typing import Any, NewType, Union, get_args, get_origin, get_type_hints

import numpy as np

from models.units import Duration, parse_amount, parse_duration

_DTYPES = {np.int64: np.int64, np.float64: np.float64, np.bool_: np.bool_, np.uint64: np.uint64}


def arguments_of(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments for `function`.

    Parameters
    ----------
    function
        The formula.
    given
        Plain data by argument name.

    Returns
    -------
    dict
        Values of the annotated types.

    Raises
    ------
    ValueError
        If a value cannot be read as its annotation says, or a dataclass refuses it.
    """
    hints = get_type_hints(function)
    return {name: convert(value, hints.get(name, Any), name) for name, value in given.items()}


def convert(value: Any, hint: Any, name: str) -> Any:
    """Return `value` as the annotation `hint` asks; `name` is said where it cannot be.

    Raises
    ------
    ValueError
        If it cannot be read so.
    """
    if isinstance(hint, NewType):
        return convert(value, hint.__supertype__, name)
    origin, members = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _union(value, members, name)
    if _is_array(hint):
        return _array(value, get_args(members[1])[0], name)
    if origin is tuple and members and members[-1] is not ...:
        return _tuple(value, members, name)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(value, members, name)
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return _sequence(value, origin, members, name)
    return _plain(value, hint, name)


def _plain(value: Any, hint: Any, name: str) -> Any:
    """Return a value whose annotation is a class without parameters."""
    if not isinstance(hint, type):
        return value
    if isinstance(value, str):
        return _text(value, hint, name)
    if issubclass(hint, Fraction) and isinstance(value, int):
        return Fraction(value)
    if is_dataclass(hint) and isinstance(value, Mapping):
        return _dataclass(value, hint, name)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (int, float, bool, str, date, Duration, Fraction, type(None)) and type(value) is not hint:
        raise ValueError(f"{name} is {value!r}, not a {hint.__name__}")
    return value


def _text(value: str, hint: type, name: str) -> Any:
    readers: dict[type, Callable[[str], Any]] = {
        date: date.fromisoformat,
        Duration: parse_duration,
        Fraction: Fraction,
        int: parse_amount,
    }
    if hint in readers:
        try:
            return readers[hint](value)
        except (ValueError, ZeroDivisionError) as error:
            raise ValueError(f"{name}: {error}") from error
    if issubclass(hint, Enum) and not issubclass(hint, str):
        if value not in hint.__members__:
            raise ValueError(f"{name} is '{value}'; expected one of {', '.join(hint.__members__)}")
        return hint[value]
    if hint in (float, bool, type(None)):
        raise ValueError(f"{name} is '{value}', not a {hint.__name__}")
    return value


def _union(value: Any, members: tuple[Any, ...], name: str) -> Any:
    """Return the value as the first member that can hold it; arrays come last for single values."""
    if value is None and type(None) in members:
        return None
    ordered = [member for member in members if member is not type(None)]
    if not isinstance(value, list):
        ordered.sort(key=_is_array)
    problem: ValueError | None = None
    for member in ordered:
        try:
            return convert(value, member, name)
        except ValueError as error:
            problem = problem or error
    raise problem or ValueError(f"{name} is {value!r}, which nothing in its annotation holds")


def _is_array(hint: Any) -> bool:
    origin: Any = get_origin(hint)
    return origin is np.ndarray


def _array(value: Any, scalar: Any, name: str) -> Any:
    """Return an array of the annotated type, or of the type that fits where it is open."""
    wanted = _DTYPES.get(scalar)
    plain = _amounts(value)
    array = np.array(plain)
    kind = array.dtype.kind
    if kind not in "iufb" or (wanted is np.int64 and kind not in "i" and array.size):
        raise ValueError(f"{name} is {value!r}, not an array of {getattr(scalar, '__name__', 'numbers')}")
    if wanted is None:
        wanted = {"i": np.int64, "u": np.uint64, "f": np.float64, "b": np.bool_}[kind]
    return array.astype(wanted)


def _amounts(value: Any) -> Any:
    """Return nested lists with amounts written as text in ledger units."""
    if isinstance(value, list):
        return [_amounts(item) for item in value]
    return parse_amount(value) if isinstance(value, str) else value


def _tuple(value: Any, members: tuple[Any, ...], name: str) -> Any:
    if not isinstance(value, list) or len(value) != len(members):
        raise ValueError(f"{name} is {value!r}, not a list of {len(members)} values")
    return tuple(
        convert(item, hint, f"{name}[{i}]") for i, (item, hint) in enumerate(zip(value, members, strict=True))
    )


def _sequence(value: Any, origin: type, members: tuple[Any, ...], name: str) -> Any:
    if not isinstance(value, list):
        raise ValueError(f"{name} is {value!r}, not a list")
    hint = members[0] if members else Any
    items = [convert(item, hint, f"{name}[{i}]") for i, item in enumerate(value)]
    return tuple(items) if origin is tuple else items


def _mapping(value: Any, members: tuple[Any, ...], name: str) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} is {value!r}, not a map")
    key_hint, hint = members or (Any, Any)
    return {convert(k, key_hint, name): convert(v, hint, f"{name}.{k}") for k, v in value.items()}


def _dataclass(value: Mapping[str, Any], hint: Any, name: str) -> Any:
    maker = getattr(hint, "build", hint)
    hints = get_type_hints(maker if maker is not hint else hint)
    parameters = inspect.signature(maker).parameters
    unknown = [key for key in value if key not in parameters]
    if unknown:
        raise ValueError(f"{name}.{unknown[0]} is unknown; expected one of {', '.join(parameters)}")
    given = {key: convert(item, hints.get(key, Any), f"{name}.{key}") for key, item in value.items()}
    try:
        return maker(**given)
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from error
