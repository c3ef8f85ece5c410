"""Origin: what computed a unit of work, so that units of two makings are never mixed.

Rule decided here: two units belong together when code, packages, CPU feature level, simulated world and seed are
the same; anything else could change a digit. What differs is said with both values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sim.results.code import code_version, package_versions

if TYPE_CHECKING:
    from sim.results.manifest import Manifest

_SHOWN = 12
"""Digits of a hash that a message shows."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What computed a unit of work.

    Parameters
    ----------
    code_version
        As `sim.results.code.code_version`.
    packages
        As `sim.results.code.package_versions`.
    world_sha256
        Hash of the simulated world.
    seed
        Seed of all draws.
    """

    code_version: str
    packages: dict[str, str]
    world_sha256: str
    seed: int

    @classmethod
    def of(cls, manifest: Manifest) -> Origin:
        """Return the origin of the units of a run directory."""
        return cls(manifest.code_version, dict(manifest.packages), manifest.world_sha256, manifest.seed)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Origin:
        """Return the origin that `as_json` wrote.

        Raises
        ------
        KeyError, TypeError
            If it lacks a part or is no mapping.
        """
        return cls(data["code_version"], dict(data["packages"]), data["world_sha256"], data["seed"])

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)

    def difference(self, other: Origin) -> str:
        """Return what differs from `other`, with the value here first; "" where nothing does."""
        found = code_difference(self.code_version, self.packages, other.code_version, other.packages)
        for name, here, there in (
            ("world", self.world_sha256[:_SHOWN], other.world_sha256[:_SHOWN]),
            ("seed", self.seed, other.seed),
        ):
            if here != there:
                found.append(f"{name} {here}, not {there}")
        return "; ".join(found)


def code_difference(
    code: str, packages: Mapping[str, str], wanted_code: str, wanted_packages: Mapping[str, str]
) -> list[str]:
    """Return how one installation differs from the one that is wanted.

    Examples
    --------
    >>> code_difference("a" * 64, {"numpy": "2.4.5"}, "a" * 64, {"numpy": "2.4.6"})
    ['numpy 2.4.5, not 2.4.6']
    """
    found = [] if code == wanted_code else [f"code version {code[:_SHOWN]}, not {wanted_code[:_SHOWN]}"]
    for name in sorted({*packages, *wanted_packages}):
        here, there = packages.get(name, "unknown"), wanted_packages.get(name, "unknown")
        if here != there:
            found.append(f"{name} {here}, not {there}")
    return found


def installation_difference(wanted: Origin) -> str:
    """Return how this process's own code and packages differ from `wanted`; "" where they do not."""
    found = code_difference(code_version(), package_versions(), wanted.code_version, wanted.packages)
    return "; ".join(found)
