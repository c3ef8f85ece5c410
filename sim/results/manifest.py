"""Manifest: what a run directory holds, what made it, and whether its checks passed.

Rule decided here: the keys of ``manifest.json`` and their meaning. Nothing in it depends on the date;
`timing` and the chain's own speed are what differs between two runs of the same scenario.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import InputError
from sim.results.naming import naming
from sim.results.tables import SCHEMA

MANIFEST = "manifest.json"
IN_PROCESS = "in-process"
Status = Literal["running", "failed", "complete"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class ProfileFacts(_Part):
    """The serving profile behind a run: who measured what, when."""

    id: str
    sha256: str
    measured: bool
    created: str = ""
    device: str = ""
    model: str = ""
    model_params: int = 0


class CallFacts(_Part):
    """How often a contract was called in one way, counted from receipts and events, and the gas of it."""

    contract: str
    call: str
    count: int
    gas: int


class ChainFacts(_Part):
    """What the witness run executed on chain, and how fast.

    Parameters
    ----------
    seconds, transactions_per_s
        Wall time of everything that was done for the chains, planning and comparing included, and the rate.
    l1, l2
        What each chain is: "in-process", or what its node says of itself.
    calls
        Counts of calls; empty where nothing was counted.
    """

    executed: bool
    witness_run: int
    transactions: int = 0
    reconciled_epochs: int = 0
    max_abs_diff_wei: int = 0
    seconds: float = 0.0
    transactions_per_s: float = 0.0
    l1: str = IN_PROCESS
    l2: str = IN_PROCESS
    calls: tuple[CallFacts, ...] = ()


class Timing(_Part):
    """Wall time of the computation and its speed; resumed time adds up."""

    wall_s: float = 0.0
    agent_steps_per_s: float = 0.0


class PricedFor(_Part):
    """The model class that the scenario's fees price."""

    model: str
    params: int


class TwinFacts(_Part):
    """Counterfactual twins: their names and how many runs each has."""

    names: tuple[str, ...] = ()
    runs: int = 0


class ParameterCounts(_Part):
    """How many parameters a scenario has, and how many of each class of evidence."""

    total: int
    measured: int = 0
    documented: int = 0
    estimated: int = 0
    illustrative: int = 0

    @property
    def illustrative_share(self) -> float:
        """Share of parameters that are nothing but an illustration."""
        return self.illustrative / self.total if self.total else 0.0


class Manifest(_Part):
    """Contents of ``manifest.json``.

    Parameters
    ----------
    schema_version
        Layout of the directory (key ``schema``).
    status
        ``running`` until all runs are assembled; ``failed`` where a check stopped the run.
    failure
        What stopped it.
    world_sha256
        Hash of the resolved scenario without its ``runs`` section, and of the code: with the scenario's name
        it names the directory.
    agents
        Simulated agents.
    days
        Last day; rows are 0 .. days.
    bands
        Percentiles that the scenario asks for.
    as_of
        Date that the headline speaks of, "" for the default.
    notes
        What a reader of any number must know about the scenario.
    profile, other_profiles
        The first serving profile of the fleet, and the rest.
    surface_error
        Observable that is read from a response surface -> median and largest relative error of that surface.
    files
        File name of each table -> SHA-256 of its bytes.
    assembling
        The same of the tables that are about to take the place of those; empty but for that moment.
    """

    schema_version: int = Field(default=SCHEMA, alias="schema")
    status: Status
    failure: str = ""
    name: str
    scenario: str
    command: str
    start: str
    scenario_sha256: str
    world_sha256: str
    code_version: str
    packages: dict[str, str]
    seed: int
    runs: int
    agents: int
    days: int
    bands: tuple[int, ...] = (5, 25, 50, 75, 95)
    as_of: str = ""
    notes: tuple[str, ...] = ()
    profile: ProfileFacts | None = None
    other_profiles: tuple[ProfileFacts, ...] = ()
    priced_for: PricedFor | None = None
    artifacts_sha256: str
    conservation_residual_gwei: int = 0
    chain: ChainFacts
    twins: TwinFacts = TwinFacts()
    surface_error: dict[str, tuple[float, float]] = {}
    parameters: ParameterCounts
    timing: Timing = Timing()
    files: dict[str, str] = {}
    assembling: dict[str, str] = {}

    @property
    def reconciled(self) -> bool:
        """Whether ledger and chain agree exactly and no gwei is missing."""
        return self.conservation_residual_gwei == 0 and self.chain.max_abs_diff_wei == 0

    def write(self, directory: Path) -> None:
        """Write ``manifest.json`` by atomic rename."""
        text = json.dumps(self.model_dump(mode="json", by_alias=True), indent=2) + "\n"
        temporary = directory / f".{MANIFEST}.part"
        with naming(directory / MANIFEST):
            temporary.write_text(text, encoding="utf-8")
        temporary.replace(directory / MANIFEST)

    @classmethod
    def read(cls, directory: Path) -> Manifest:
        """Read a run directory's manifest.

        Raises
        ------
        InputError
            If there is none, it is damaged, or another version of the layout wrote it.
        """
        path = directory / MANIFEST
        if not path.is_file():
            raise InputError(f"{directory}: no run directory (it has no {MANIFEST})")
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            found = data["schema"]
        except (ValueError, KeyError, TypeError, OSError):
            raise InputError(f"{path}: not a readable manifest; delete the directory and run again") from None
        if found != SCHEMA:
            raise InputError(
                f"{path}: layout version {found} of another version of olsim; this one reads {SCHEMA}"
            )
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InputError(f"{path}: {where}: {first['msg']}; the manifest is damaged") from None
