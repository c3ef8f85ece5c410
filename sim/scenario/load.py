"""Reading scenarios: file, parents, overrides, models, checks, and all errors at once.

Rule decided here: the order in which a scenario is read, and that nothing half valid leaves this module.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from models.errors import InputError, Problem
from sim.scenario.checks import Parts, cross_checks, drawn_checks, parameter_checks
from sim.scenario.kinds import Token
from sim.scenario.leaves import Context
from sim.scenario.merge import Sources, read
from sim.scenario.problems import translate
from sim.scenario.proposal import Proposal
from sim.scenario.schema import Scenario, collect_parameters
from sim.scenario.targets import fields_by_key
from sim.scenario.token import TokenSection
from sim.scenario.tree import Map, Scalar
from sim.scenario.words import did_you_mean

OVERLAY_KEYS = ("schema", "extends", "name", "proposal", "report", "sources")
"""What a file with a proposal may hold beside it."""

WORLD_SECTIONS = frozenset(fields_by_key(Scenario)) - {"schema", "name", "start", "sources", "token"}
"""Sections that make a file a world and not the calendar of a token alone."""


@dataclass(frozen=True, slots=True)
class TokenFile:
    """What the unlock calendar needs of a file.

    Parameters
    ----------
    name
        The scenario's name, or the file's.
    start
        First day of the calendars.
    token
        Cap and buckets.
    notes
        What a reader must know about a reading that does not sum.
    """

    name: str
    start: date
    token: TokenSection
    notes: tuple[str, ...]


def load(path: Path | str, overrides: Iterable[str] = ()) -> Scenario:
    """Read a scenario or a proposal.

    Parameters
    ----------
    path
        The YAML file.
    overrides
        Texts ``path=value``, applied after the parents.

    Returns
    -------
    Scenario
        The world, checked; with `proposal` set where the file has one.

    Raises
    ------
    InputError
        With every mistake of the file, its parents and the overrides.
    """
    sources = Sources()
    overrides = tuple(overrides)
    return _scenario(read(Path(path), overrides, sources), sources, overrides)


def _scenario(tree: Map, sources: Sources, overrides: tuple[str, ...]) -> Scenario:
    context = Context(_token(tree))
    problems = [*sources.problems, *_unknown_sources(tree, sources), *_overlay_problems(sources)]
    scenario, sections, wrong = _validate(tree, context)
    parts = Parts(tree, sections)
    problems += wrong
    problems += cross_checks(parts)
    problems += parameter_checks(parts, dict(collect_parameters(sections)))
    if scenario is not None and not problems:
        problems += drawn_checks(parts, scenario)
    if problems or scenario is None:
        raise InputError(_in_order(problems, sources))
    return _finished(scenario, sources, overrides)


def load_token(path: Path | str, overrides: Iterable[str] = ()) -> TokenFile:
    """Read the token of a file that may hold nothing else.

    Parameters
    ----------
    path
        A scenario, or a file with ``token:`` and the date it starts on.
    overrides
        Texts ``path=value``.

    Returns
    -------
    TokenFile
        Start and token.

    Raises
    ------
    InputError
        With every mistake of the token section; other sections are not read.
    """
    sources = Sources()
    return _token_file(read(Path(path), tuple(overrides), sources), sources)


def load_any(path: Path | str, overrides: Iterable[str] = ()) -> Scenario | TokenFile:
    """Read a file as what it is: one without any section of a world is the calendar of a token.

    Parameters
    ----------
    path
        The YAML file.
    overrides
        Texts ``path=value``.

    Raises
    ------
    InputError
        With every mistake, as `load` or `load_token` says them.
    """
    sources = Sources()
    overrides = tuple(overrides)
    tree = read(Path(path), overrides, sources)
    if "token" in tree and not WORLD_SECTIONS & set(tree):
        return _token_file(tree, sources)
    return _scenario(tree, sources, overrides)


def _token_file(tree: Map, sources: Sources) -> TokenFile:
    path = sources.files[0]
    problems = [*sources.problems, *_unknown_sources(tree, sources), *_unknown_sections(tree)]
    context = Context(_token(tree))
    sections: dict[str, Any] = {}
    for key in ("name", "start", "token"):
        if key in tree:
            problems += _section(key, tree, context, sections)
    if "token" not in tree:
        problems.append(Problem("is missing; a calendar needs cap and buckets", "token", f"{path}:1:1"))
    token = sections.get("token")
    start = (token.tge if token is not None else None) or sections.get("start")
    section = tree.get("token")
    if "start" not in tree and not (isinstance(section, Map) and "tge" in section):
        problems.append(Problem("is missing; say on which day the calendar begins", "start", f"{path}:1:1"))
    if problems:
        raise InputError(_in_order(problems, sources))
    assert token is not None
    assert start is not None
    return TokenFile(sections.get("name", path.stem), start, token, token.notes)


def _token(tree: Map) -> Token:
    """Symbol and decimals, read ahead because every amount needs them."""
    section = tree.get("token")
    if not isinstance(section, Map):
        return Token()
    symbol, decimals = section.get("symbol"), section.get("ledger_decimals")
    digits = decimals.text if isinstance(decimals, Scalar) and decimals.text.isdecimal() else "9"
    return Token(symbol.text if isinstance(symbol, Scalar) else "OPEN", min(int(digits), 18))


def _unknown_sources(tree: Map, sources: Sources) -> list[Problem]:
    """Return the sources that are neither a key of ``sources`` nor a text of several words."""
    known = tree.get("sources")
    keys = list(known) if isinstance(known, Map) else []
    return [
        Problem(f"'{text}' is no key of sources{did_you_mean(text, keys)}", path, str(place))
        for text, path, place in sources.named
        if text not in keys and " " not in text.strip() and "://" not in text
    ]


def _overlay_problems(sources: Sources) -> list[Problem]:
    problems = []
    for tree in sources.overlays:
        if "proposal" not in tree or "extends" not in tree:
            continue
        for key in tree:
            if key not in OVERLAY_KEYS:
                message = (
                    "a file that changes this is a scenario, not a proposal; "
                    "a vote changes governed parameters by proposal.actions"
                )
                problems.append(Problem(message, key, str(tree.key_places[key])))
    return problems


def _unknown_sections(tree: Map) -> list[Problem]:
    known = fields_by_key(Scenario)
    return [
        Problem(f"unknown key{did_you_mean(key, known)}", key, str(tree.key_places[key]))
        for key in tree
        if key not in known
    ]


def _validate(tree: Map, context: Context) -> tuple[Scenario | None, dict[str, Any], list[Problem]]:
    """Validate the whole; where that fails, each section alone, so that checks can join the good ones."""
    fields = fields_by_key(Scenario)
    try:
        scenario = Scenario.model_validate(tree, context=context)
    except ValidationError as error:
        problems = translate(error, tree, Scenario)
        failed = {str(item["loc"][0]) for item in error.errors(include_url=False, include_context=False)}
        sections: dict[str, Any] = {}
        for key in tree:
            if key in fields and key not in failed:
                _section(key, tree, context, sections)
        return None, sections, problems
    names = {key: getattr(scenario, name) for key, name in _names().items()}
    return scenario, names, []


def _names() -> dict[str, str]:
    return {field.alias or name: name for name, field in Scenario.model_fields.items()}


def _section(key: str, tree: Map, context: Context, sections: dict[str, Any]) -> list[Problem]:
    """Validate one section into `sections`, or return its problems."""
    only = Map(tree.place)
    only.put(key, tree[key], tree.key_places[key])
    try:
        sections[key] = _one_section(key).validate_python(only, context=context)[key]
    except ValidationError as error:
        return translate(error, only, Scenario)
    return []


def _one_section(key: str) -> TypeAdapter[dict[str, Any]]:
    annotation: Any = fields_by_key(Scenario)[key].rebuild_annotation()
    mapping: Any = dict
    return TypeAdapter(mapping[str, annotation])


def _in_order(problems: list[Problem], sources: Sources) -> list[Problem]:
    """Sort by file, line and column; the same message once."""
    order = {str(path): index for index, path in enumerate(sources.files)}
    unique = list(dict.fromkeys(problems))

    def rank(problem: Problem) -> tuple[int, int, int]:
        file, _, rest = problem.where.partition(":")
        numbers = [int(part) for part in rest.split(":") if part.isdigit()] + [0, 0]
        return order.get(file, len(order)), numbers[0], numbers[1]

    return sorted(unique, key=rank)


def _finished(scenario: Scenario, sources: Sources, overrides: tuple[str, ...]) -> Scenario:
    """Return the scenario with its files, its overrides and the old values of a proposal's actions."""
    if scenario.proposal is not None:
        known = dict(scenario.parameters())
        proposal = scenario.proposal
        actions = tuple(
            replace(action, old=known[action.path].on(proposal.submit)) for action in proposal.actions
        )
        changed: Proposal = proposal.model_copy(update={"actions": actions})
        scenario = scenario.model_copy(update={"proposal": changed})
    scenario._files = tuple(sources.files)
    scenario._overrides = overrides
    return scenario
