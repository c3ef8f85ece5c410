"""The whole scenario as a frozen model whose attributes have the names of the file's keys.

Rule decided here: which sections a run needs. Values are `models.parameters.Parameter`; structure (counts
of agents, names, switches, lists) is plain. A resolved scenario is canonical plain data and loads back to
the same scenario.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, PrivateAttr

from models.parameters import Parameter
from sim.scenario.fields import DateValue, MaybeFile, Section, Text, choice, whole
from sim.scenario.governing import Governance
from sim.scenario.kinds import Token
from sim.scenario.leaves import Context
from sim.scenario.population import AgentsSection
from sim.scenario.proposal import Proposal
from sim.scenario.rules import (
    Attribution,
    Bridge,
    Emission,
    Fees,
    Gas,
    Grants,
    OperatorPay,
    Staking,
)
from sim.scenario.surroundings import Chain, Demand, Market, Report, Runs, Serving
from sim.scenario.sweeping import Sweep
from sim.scenario.token import TokenSection


class Source(Section):
    """Where numbers come from, and how far the place can be trusted."""

    text: Text
    confidence: Annotated[str, choice("low", "medium", "high")]


class Scenario(Section):
    """A world, and perhaps a proposal in it. Attribute names are the keys of the file."""

    schema_: Annotated[int, whole(1, 1)] = Field(alias="schema")
    name: Text
    start: DateValue
    days: Annotated[int, whole(1, 36_600)]
    sources: dict[str, Source] = Field(default_factory=dict)
    token: TokenSection
    emission: Emission
    fees: Fees
    operator_pay: OperatorPay
    attribution: Attribution
    staking: Staking
    governance: Governance
    bridge: Bridge
    gas: Gas
    agents: AgentsSection
    demand: Demand
    market: Market
    serving: Serving
    grants: Grants
    chain: Chain
    runs: Runs
    proposal: Proposal | None = None
    report: Report = Report()
    sweep: Sweep | None = None
    initial: MaybeFile = None
    _files: tuple[Path, ...] = PrivateAttr(default=())
    _overrides: tuple[str, ...] = PrivateAttr(default=())

    @property
    def files(self) -> tuple[Path, ...]:
        """The files read, the scenario itself first, then its parents."""
        return self._files

    @property
    def overrides(self) -> tuple[str, ...]:
        """The ``path=value`` texts that were applied."""
        return self._overrides

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of any result must know about this world."""
        return self.token.notes

    @property
    def tge(self) -> date:
        """First day of the unlock calendars."""
        return self.token.tge or self.start

    def resolved(self, relative_to: Path | None = None) -> dict[str, Any]:
        """Return the scenario as canonical plain data.

        Parameters
        ----------
        relative_to
            Directory that paths are written relative to; absolute paths without it.

        Returns
        -------
        dict
            Strings, numbers, lists and dicts alone; loads back to the same scenario.
        """
        return self._plain(Context(self._unit(), relative_to))

    def sha256(self, exclude_runs: bool = True) -> str:
        """Return the hash of the canonical form; files count by their content, not by their place.

        What a sweep varies is no part of it: the section changes no run of the world that it stands in.

        Parameters
        ----------
        exclude_runs
            Leave the ``runs`` section out, so that more runs of one world share its name.
        """
        data = self._plain(Context(self._unit(), None, digest=True))
        data.pop("sweep", None)
        if exclude_runs:
            del data["runs"]
        text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def parameters(self) -> Iterator[tuple[str, Parameter[Any]]]:
        """Yield every parameter with its dotted path, in the order of the file's sections."""
        yield from collect_parameters(self)

    def parameter(self, path: str) -> Parameter[Any]:
        """Return the parameter at `path`.

        Raises
        ------
        KeyError
            If there is none.
        """
        for known, parameter in self.parameters():
            if known == path:
                return parameter
        raise KeyError(path)

    def _unit(self) -> Token:
        return Token(self.token.symbol, self.token.ledger_decimals)

    def _plain(self, context: Context) -> dict[str, Any]:
        data = _listed(self.model_dump(by_alias=True, exclude_none=True, context=context))
        assert isinstance(data, dict)
        return data


def _listed(data: Any) -> Any:
    """Return plain data with lists in place of tuples."""
    if isinstance(data, dict):
        return {key: _listed(value) for key, value in data.items()}
    return [_listed(value) for value in data] if isinstance(data, list | tuple) else data


def collect_parameters(value: Any, path: str = "") -> Iterator[tuple[str, Parameter[Any]]]:
    """Yield every parameter in `value` (a section, a dict or a tuple of them) with its path below `path`."""
    if isinstance(value, Parameter):
        yield path, value
    elif isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from collect_parameters(getattr(value, name), _below(path, field.alias or name))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from collect_parameters(item, _below(path, key))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from collect_parameters(item, _below(path, str(index)))


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
