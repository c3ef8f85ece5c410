"""What an alias means: the versions of every alias, who owns it, and which one is served.

An index is a value: every change is a new index, so that readers keep what they took while a writer works. A version's
number is never given twice under an alias, not even after a deletion, and an alias stays its first tenant's: logs and
clients that name it must not find somebody else's adapter there one day.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from models.errors import InputError, Problem
from reference_node.manifest import AdapterManifest
from reference_node.registry.errors import NotOwnerError, UnknownModelError
from reference_node.strict_json import short

BASE = "base"
ALIAS = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
PREFIX = re.compile(r"[0-9a-f]{8,64}")
MARK = "@sha256:"
SUGGESTED_MAX = 200  # aliases that a near miss is compared with: a comparison costs about 10 us


@dataclass(frozen=True, slots=True)
class Version:
    """One upload under an alias.

    Parameters
    ----------
    alias, number
        Its name; numbers count from 1 under each alias.
    sha256
        Content hash of the adapter.
    created
        Unix seconds.
    tenant
        Who uploaded it.
    bytes
        What it occupies on disk: weights, configuration and manifest.
    rank, targets
        Of the adapter.
    manifest
        Who is paid; None when the owner is unknown.
    manifest_sha256
        Hash of the manifest's file, None without one.
    """

    alias: str
    number: int
    sha256: str
    created: int
    tenant: str
    bytes: int
    rank: int
    targets: tuple[str, ...]
    manifest: AdapterManifest | None
    manifest_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a model name means at this moment; hash and version are None for the base model."""

    model: str
    alias: str
    sha256: str | None
    version: Version | None


@dataclass(frozen=True, slots=True)
class Alias:
    """An alias: its tenant, the number that is served (0 when all versions are deleted), the next number, versions."""

    tenant: str
    current: int = 0
    next_number: int = 1
    versions: tuple[Version, ...] = ()

    def served(self) -> Version:
        """Return the version that the bare alias means, of an alias that has any."""
        return next(version for version in self.versions if version.number == self.current)


@dataclass(frozen=True, slots=True)
class Index:
    """All aliases of a node."""

    aliases: Mapping[str, Alias] = field(default_factory=dict)

    def resolve(self, model: str) -> Resolved:
        """Return what a model name means: `base`, an alias, or `alias@sha256:` and 8 or more digits of a hash.

        Raises
        ------
        UnknownModelError
            When it means nothing, or more than one version.
        """
        if model == BASE:
            return Resolved(model, BASE, None, None)
        alias, mark, prefix = model.partition(MARK)
        entry = self.aliases.get(alias)
        if entry is None or not entry.versions:
            raise UnknownModelError(f"model {_quoted(model)} is unknown; {self._near(alias)}")
        version = self.match(alias, prefix) if mark else entry.served()
        return Resolved(model, alias, version.sha256, version)

    def entry(self, alias: str) -> Alias:
        """Return an alias that has versions; raise `UnknownModelError` when there is none of this name."""
        entry = self.aliases.get(alias)
        if entry is None or not entry.versions:
            raise UnknownModelError(f"alias {_quoted(alias)} is unknown; {self._near(alias)}")
        return entry

    def match(self, alias: str, prefix: str) -> Version:
        """Return the newest version under an alias whose hash begins with a prefix.

        Raises
        ------
        UnknownModelError
            When the prefix is malformed, or fits no version or several hashes.
        """
        entry = self.entry(alias)
        if not PREFIX.fullmatch(prefix):
            raise UnknownModelError(
                f"{_quoted(alias + MARK + prefix)}: allowed 8 to 64 lower-case hexadecimal digits after {MARK}"
            )
        fitting = [version for version in entry.versions if version.sha256.startswith(prefix)]
        hashes = sorted({version.sha256 for version in fitting})
        if len(hashes) > 1:
            raise UnknownModelError(
                f"{alias}{MARK}{prefix} fits {len(hashes)} versions: {', '.join(hashes)}; say more"
            )
        if not hashes:
            known = ", ".join(sorted({version.sha256[:12] for version in entry.versions})[:5])
            raise UnknownModelError(f"{alias}{MARK}{prefix} fits no version of {alias}; it has {known}")
        return fitting[-1]

    def check_owner(self, alias: str, tenant: str, *, admin: bool) -> None:
        """Raise `NotOwnerError` unless the alias is free, the tenant's own, or an administrator asks."""
        entry = self.aliases.get(alias)
        if entry is not None and entry.tenant != tenant and not admin:
            raise NotOwnerError(f"alias {alias!r} belongs to another tenant; choose another alias")

    def added(self, version: Version) -> Index:
        """Return the index with one more version, which its alias now serves."""
        entry = self.aliases.get(version.alias) or Alias(version.tenant)
        return self._with(
            version.alias,
            replace(
                entry,
                current=version.number,
                next_number=version.number + 1,
                versions=(*entry.versions, version),
            ),
        )

    def serving(self, version: Version) -> Index:
        """Return the index with the alias serving one of its versions."""
        return self._with(version.alias, replace(self.aliases[version.alias], current=version.number))

    def without(self, alias: str, sha256: str | None = None) -> Index:
        """Return the index without an alias's versions of one hash, or without any of its versions.

        An alias that served a deleted version serves the newest one before it, or the newest of all.
        """
        entry = self.aliases[alias]
        kept = tuple(version for version in entry.versions if sha256 and version.sha256 != sha256)
        current = entry.current
        if all(version.number != current for version in kept):
            numbers = [version.number for version in kept]
            current = max([n for n in numbers if n < current] or numbers, default=0)
        return self._with(alias, replace(entry, versions=kept, current=current))

    def versions(self) -> Iterable[Version]:
        """Yield all versions of all aliases."""
        return (version for entry in self.aliases.values() for version in entry.versions)

    def _with(self, alias: str, entry: Alias) -> Index:
        return Index({**self.aliases, alias: entry})

    def _near(self, alias: str) -> str:
        """Return a suggestion: an alias spelt much like this one, or how many there are."""
        live = [name for name, entry in self.aliases.items() if entry.versions]
        if len(alias) <= 64:
            alike = [name for name in (BASE, *live) if abs(len(name) - len(alias)) <= 2]
            near = difflib.get_close_matches(alias, alike[:SUGGESTED_MAX], n=1)
            if near and near[0] != alias:
                return f"did you mean {near[0]!r}?"
        return f"the node serves {BASE!r} and {len(live)} adapters"


def check_alias(alias: str) -> None:
    """Raise `InputError` unless the text may name an adapter."""
    if not isinstance(alias, str) or not ALIAS.fullmatch(alias):
        rule = "allowed 1 to 64 of a-z, 0-9, '.', '_', '-', a letter or digit first"
        raise InputError([Problem(f"{_quoted(alias)} is no alias; {rule}", "alias")])
    if alias == BASE:
        raise InputError([Problem(f"{BASE!r} is the base model; choose another alias", "alias")])


def _quoted(text: object) -> str:
    return short(repr(text))


def object_names(versions: Iterable[Version], tenant: str | None = None) -> set[str]:
    """Return the hashes of the adapters and manifests that versions name, of one tenant or of all."""
    mine = (version for version in versions if tenant in (None, version.tenant))
    return {name for version in mine for name in (version.sha256, version.manifest_sha256) if name}
