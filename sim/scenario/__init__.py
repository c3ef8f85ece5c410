"""Scenario files: reading, overlaying, checking and writing worlds.

Rule decided here: what the rest of the simulation may use of this package.
"""

from __future__ import annotations

from sim.scenario.buckets import Bucket, Step
from sim.scenario.composites import Split
from sim.scenario.governed import GOVERNED, Governed
from sim.scenario.load import TokenFile, load, load_any, load_token
from sim.scenario.proposal import Action, Proposal
from sim.scenario.schema import Scenario
from sim.scenario.token import TokenSection

__all__ = [
    "GOVERNED",
    "Action",
    "Bucket",
    "Governed",
    "Proposal",
    "Scenario",
    "Split",
    "Step",
    "TokenFile",
    "TokenSection",
    "load",
    "load_any",
    "load_token",
]
