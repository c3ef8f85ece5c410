"""API keys: which secret opens what.

Rules decided here. A key is `olk_<id>_<secret>`: the id is public and finds the entry, the secret is 256 bits
from the system's generator and is shown once. At rest there is a salted SHA-256 of the secret and nothing
else: slow hashes (scrypt, argon2) defend what people choose and attackers can guess; nobody can try 2^256
secrets, and a slow hash on every request would only let strangers burn the node's processor. Digests are
compared in constant time, and an unknown id costs the same comparison. A key that is revoked, by this process
or another one, is refused from the next request on.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from models.errors import InputError, Problem
from reference_node.access.files import locked, write_atomic
from reference_node.access.quotas import Quota

SCOPES = ("inference", "adapters:read", "adapters:write", "usage:read", "admin")
"""What a key can be allowed; `admin` includes the others."""

_KEY = re.compile(r"olk_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@ -]{0,63}")
_TENANT = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SECRET_BYTES, _SALT_BYTES = 32, 16
_NOBODY = "0" * 64


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret.

    Parameters
    ----------
    id
        Public id, 16 hexadecimal digits; what logs and bills name.
    name
        Label for people.
    tenant
        Whose requests, adapters and usage these are.
    scopes
        Some of `SCOPES`.
    quota
        Limits of this key.
    created_ms, revoked_ms
        Unix milliseconds; `revoked_ms` is None while the key works.
    """

    id: str
    name: str
    tenant: str
    scopes: tuple[str, ...]
    quota: Quota
    created_ms: int
    revoked_ms: int | None = None

    def allows(self, scope: str) -> bool:
        """Return whether the key may do what `scope` names."""
        return scope in self.scopes or "admin" in self.scopes


@dataclass(frozen=True, slots=True)
class _Entry:
    key: ApiKey
    salt: str
    digest: str


class KeyStore:
    """The keys of a node, in one JSON file that only its owner can read.

    Parameters
    ----------
    path
        The file; made by the first `create`.
    clock
        Unix seconds.

    Raises
    ------
    InputError
        If the file is not a key file.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] | None = None
        self._entries: dict[str, _Entry] = {}
        self._refresh()

    def create(
        self, name: str, tenant: str, scopes: Iterable[str] = ("inference",), quota: Quota | None = None
    ) -> str:
        """Make a key and return it in plain text, the only time it exists.

        Parameters
        ----------
        name, tenant
            As in `ApiKey`.
        scopes
            At least one of `SCOPES`.
        quota
            Limits; `Quota()` where None.

        Raises
        ------
        InputError
            If a name or a scope is not allowed.
        """
        scopes = tuple(scopes)
        _check(name, tenant, scopes)
        secret, salt = secrets.token_urlsafe(_SECRET_BYTES), secrets.token_hex(_SALT_BYTES)
        with self._lock, locked(self._lock_path):
            self._refresh()
            key_id = secrets.token_hex(8)
            key = ApiKey(key_id, name, tenant, scopes, quota or Quota(), self._now_ms())
            self._save({**self._entries, key_id: _Entry(key, salt, _digest(salt, secret))})
        return f"olk_{key_id}_{secret}"

    def verify(self, plain: str) -> ApiKey | None:
        """Return the key that a secret belongs to, or None where it is unknown, wrong or revoked."""
        match = _KEY.fullmatch(plain)
        with self._lock:
            self._refresh()
            entry = self._entries.get(match[1]) if match else None
        salt, expected = (entry.salt, entry.digest) if entry else (_NOBODY[:32], _NOBODY)
        same = hmac.compare_digest(_digest(salt, match[2] if match else plain), expected)
        return entry.key if entry and same and entry.key.revoked_ms is None else None

    def revoke(self, key_id: str) -> ApiKey:
        """Stop a key from working; revoking twice keeps the first time.

        Raises
        ------
        InputError
            If no key has this id.
        """
        with self._lock, locked(self._lock_path):
            self._refresh()
            entry = self._entries.get(key_id)
            if entry is None:
                raise InputError([Problem(f"no key has the id {key_id!r}", where=str(self.path))])
            if entry.key.revoked_ms is None:
                key = replace(entry.key, revoked_ms=self._now_ms())
                self._save({**self._entries, key_id: replace(entry, key=key)})
            return self._entries[key_id].key

    def listing(self) -> list[ApiKey]:
        """Return all keys, revoked ones too, oldest first."""
        with self._lock:
            self._refresh()
            return sorted((e.key for e in self._entries.values()), key=lambda k: (k.created_ms, k.id))

    @property
    def _lock_path(self) -> Path:
        return self.path.with_name(f".{self.path.name}.lock")

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _save(self, entries: dict[str, _Entry]) -> None:
        rows = [
            {**asdict(entry.key), "salt": entry.salt, "digest": entry.digest} for entry in entries.values()
        ]
        text = json.dumps({"schema": 1, "keys": rows}, indent=1) + "\n"
        write_atomic(self.path, text.encode(), 0o600)
        self._entries, self._seen = entries, self._stamp()

    def _refresh(self) -> None:
        """Read the file again where another process replaced it."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._entries = _read(self.path) if stamp else {}
            self._seen = stamp

    def _stamp(self) -> tuple[int, ...] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def _digest(salt: str, secret: str) -> str:
    return hashlib.sha256(bytes.fromhex(salt) + secret.encode()).hexdigest()


def _check(name: str, tenant: str, scopes: tuple[str, ...]) -> None:
    problems = []
    if not _NAME.fullmatch(name):
        problems.append(Problem(f"{name!r} is no name; allowed 1 to 64 of {_NAME.pattern}", "name"))
    if not _TENANT.fullmatch(tenant):
        problems.append(Problem(f"{tenant!r} is no tenant; allowed {_TENANT.pattern}", "tenant"))
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        given = ", ".join(map(repr, unknown)) or "no scope"
        problems.append(Problem(f"{given}; allowed one or more of {', '.join(SCOPES)}", "scopes"))
    if problems:
        raise InputError(problems)


def _read(path: Path) -> dict[str, _Entry]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != 1:
            raise ValueError(f"schema {document['schema']} is unknown; expected 1")
        return {row["id"]: _entry(row) for row in document["keys"]}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError([Problem(f"not a key file: {error}", where=str(path))]) from error


def _entry(row: dict[str, Any]) -> _Entry:
    salt, digest = row.pop("salt"), row.pop("digest")
    if len(bytes.fromhex(digest)) != 32 or len(bytes.fromhex(salt)) != _SALT_BYTES:
        raise ValueError(f"key {row['id']} has a malformed salt or digest")
    quota, scopes = Quota(**row.pop("quota")), tuple(row.pop("scopes"))
    return _Entry(ApiKey(scopes=scopes, quota=quota, **row), salt, digest)
