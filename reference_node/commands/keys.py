"""`olsim node keys`: make, list and revoke API keys.

Rule decided here: a new key goes to standard output alone and once; everything else shows ids.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from models.errors import InputError, Problem
from reference_node.access import ApiKey, KeyStore, Quota

keys_app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True, add_completion=False)

Store = Annotated[Path, typer.Option("--keys", help="The node's key file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_DEFAULTS = Quota()


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Label for people.")],
    keys: Store,
    tenant: Annotated[str, typer.Option(help="Whose requests, adapters and usage these are.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="inference, adapters:read, adapters:write, usage:read or admin; repeatable."),
    ] = None,
    requests_per_minute: Annotated[int | None, typer.Option()] = _DEFAULTS.requests_per_minute,
    tokens_per_day: Annotated[int | None, typer.Option()] = _DEFAULTS.tokens_per_day,
    concurrent: Annotated[int | None, typer.Option(help="Requests in flight.")] = _DEFAULTS.concurrent,
    stored_bytes: Annotated[int | None, typer.Option(help="Adapter bytes.")] = _DEFAULTS.stored_bytes,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, the only time it is shown; 0 as a limit means none."""
    limits = (requests_per_minute, tokens_per_day, concurrent, stored_bytes)
    quota = Quota(*(limit or None for limit in limits))
    plain = KeyStore(keys).create(name, tenant, scope or ["inference"], quota)
    sys.stdout.write(
        json.dumps({"id": plain.split("_")[1], "key": plain}) + "\n" if as_json else plain + "\n"
    )
    sys.stderr.write("Keep this key: the node stores its hash and cannot show it again.\n")


@keys_app.command("list")
def list_keys(keys: Store, as_json: AsJson = False) -> None:
    """List all keys, revoked ones too."""
    found = _existing(keys).listing()
    if as_json:
        sys.stdout.write(json.dumps({"keys": [asdict(key) for key in found]}) + "\n")
        return
    sys.stdout.write(f"{'id':<18}{'name':<20}{'tenant':<16}{'created':<18}{'state':<10}scopes\n")
    for key in found:
        sys.stdout.write(_line(key))


@keys_app.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="Id of the key.")], keys: Store) -> None:
    """Stop a key from working; a running node refuses it from its next request on."""
    key = _existing(keys).revoke(key_id)
    sys.stdout.write(f"{key.id} ({key.name}) is revoked\n")


def _existing(path: Path) -> KeyStore:
    if not path.exists():
        raise InputError(
            [Problem("there is no such key file; olsim node keys create makes one", where=str(path))]
        )
    return KeyStore(path)


def _line(key: ApiKey) -> str:
    created = datetime.fromtimestamp(key.created_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    state = "active" if key.revoked_ms is None else "revoked"
    return f"{key.id:<18}{key.name:<20}{key.tenant:<16}{created:<18}{state:<10}{' '.join(key.scopes)}\n"
