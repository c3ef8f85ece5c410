"""`olsim node adapters`: make and check adapter folders, and keep those of a running node or of a registry folder.

Decided here: what a person sees of an adapter (which version an alias serves, who is paid). `make` and `check` mean
the bundled tiny base unless told otherwise; a registry knows the shape of its base model, so that `--base` is needed
once. `list`, `show`, `rollback` and `delete` ask a running node unless a registry folder is named.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.errors import InputError
from reference_node.commands import need_packages
from reference_node.commands.adapter_places import Facts, facts, open_registry, payees, place
from reference_node.commands.chat import DEFAULT_URL, Key, Url, refusals

if TYPE_CHECKING:
    from reference_node.config import ModelConfig

adapters_app = typer.Typer(
    help="Make, check and upload adapter folders; list, roll back and delete adapters of a node or a registry.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Base = Annotated[
    str | None,
    typer.Option(
        "--base",
        "--preset",
        help="Base model: a transformers folder, or bench shapes: tiny, 8b; the bundled tiny base if not said.",
    ),
]
Folder = Annotated[
    Path, typer.Argument(help="Adapter folder: adapter_config.json and adapter_model.safetensors.")
]
Root = Annotated[Path, typer.Option("--registry", envvar="OLSIM_REGISTRY", help="Folder of the registry.")]
Registered = Annotated[
    Path | None,
    typer.Option(
        "--registry", envvar="OLSIM_REGISTRY", help="Folder of a registry, while no node runs on it."
    ),
]
Running = Annotated[
    str | None, typer.Option("--url", help=f"A running node; {DEFAULT_URL} unless a registry is named.")
]
Alias = Annotated[str, typer.Argument(help="Name that the adapter is served under.")]


@adapters_app.command("make")
def make(
    folder: Annotated[Path, typer.Argument(help="Folder to write.")],
    rank: Annotated[int, typer.Option(min=1, max=256)] = 16,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    base: Base = None,
) -> None:
    """Write a seeded random adapter in peft's format and print its content hash."""
    need_packages("torch")
    from reference_node.adapters import random_adapter, save_adapter

    adapter = random_adapter(_shape(base), rank, seed)
    save_adapter(adapter, folder)
    sys.stdout.write(f"{adapter.sha256}\n")


@adapters_app.command("check")
def check(folder: Folder, base: Base = None, as_json: AsJson = False) -> None:
    """Say whether the node would serve an adapter, under which content hash, and who would be paid."""
    need_packages("torch")
    from reference_node.adapters import read_adapter
    from reference_node.manifest import MANIFEST_FILE, read_manifest

    found = read_adapter(folder, _shape(base))
    manifest = read_manifest(folder / MANIFEST_FILE) if (folder / MANIFEST_FILE).exists() else None
    said = {
        "sha256": found.sha256,
        "rank": found.rank,
        "alpha": found.alpha,
        "targets": list(found.targets),
        "bytes": found.nbytes(),
        "payees": payees(manifest),
    }
    _write(said, as_json, _lines(said))


@adapters_app.command("add")
def add(
    folder: Folder,
    root: Root,
    alias: Annotated[
        str | None, typer.Option(help="Name to serve it under; the folder's name if not said.")
    ] = None,
    tenant: Annotated[str, typer.Option(help="Whose it is, when the alias is new.")] = "local",
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            help="Base model of a new registry: a transformers folder, or one of the bench shapes: tiny, 8b.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Store an adapter folder, with its manifest.json if there is one, as the newest version of an alias."""
    with open_registry(root, None if base is None else _shape(base)) as registry:
        said = facts(registry.adopt(folder, alias=alias, tenant=tenant))
    _write(said, as_json, _lines(said))


@adapters_app.command("upload")
def upload(
    alias: Alias, folder: Folder, url: Url = DEFAULT_URL, key: Key = None, as_json: AsJson = False
) -> None:
    """Send an adapter folder, with its manifest.json if there is one, to a running node."""
    need_packages("httpx2")
    from reference_node.client import NodeClient

    with refusals(), NodeClient(url, key) as node:
        version = node.upload(alias, folder)
    line = f"{url} serves {alias} version {version['version']}, {version['sha256']}\n"
    _write(version, as_json, line)


@adapters_app.command("list")
def list_adapters(
    root: Registered = None, url: Running = None, key: Key = None, as_json: AsJson = False
) -> None:
    """List the version that each alias serves, its DataNets and its owner."""
    with place(root, url, key) as found:
        document = found.listing()
    damaged = "".join(f"damaged: {problem}\n" for problem in document["problems"])
    _write(document, as_json, _table(document["adapters"]) + damaged)


@adapters_app.command("show")
def show(
    alias: Alias, root: Registered = None, url: Running = None, key: Key = None, as_json: AsJson = False
) -> None:
    """Show every version of an alias, which one is served, and who is paid for it."""
    with place(root, url, key) as found:
        versions, serves = found.versions(alias)
    document = {"alias": alias, "serves": serves, "versions": versions}
    served = next(version for version in versions if version["version"] == serves)
    head = f"{alias} serves version {serves}; paid for it:\n"
    paid = [f"  {p['part']:<13}{p['share']:>12}  {p['address']}\n" for p in served["payees"]]
    _write(document, as_json, head + ("".join(paid) or "  nobody: no manifest\n") + _table(versions))


@adapters_app.command("rollback")
def rollback(
    alias: Alias,
    sha256: Annotated[str, typer.Argument(help="First 8 or more digits of the version's hash.")],
    root: Registered = None,
    url: Running = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Let an alias serve one of its earlier versions."""
    with place(root, url, key, writable=True) as found:
        said = found.rollback(alias, sha256)
    _write(said, as_json, f"{alias} serves version {said['version']}, {said['sha256']}\n")


@adapters_app.command("delete")
def delete(
    alias: Alias,
    sha256: Annotated[str | None, typer.Argument(help="Only the version whose hash begins so.")] = None,
    root: Registered = None,
    url: Running = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Delete an alias, or one of its versions."""
    with place(root, url, key, writable=True) as found:
        gone, serves = found.delete(alias, sha256)
    after = f"{alias} is not served any more" if serves is None else f"{alias} serves version {serves}"
    _write({"deleted": gone, "serves": serves}, as_json, f"deleted {len(gone)} of {alias}; {after}\n")


def _shape(base: str | None) -> ModelConfig:
    from reference_node import tiny_base
    from reference_node.config import PRESETS
    from reference_node.config_file import read_config

    if base is None:
        return read_config(tiny_base.folder())
    if base in PRESETS:
        return PRESETS[base]
    if Path(base).is_dir():
        return read_config(Path(base))
    raise InputError(
        f"base {base!r} is unknown; allowed a transformers folder, or one of the bench shapes: {', '.join(PRESETS)}"
    )


def _table(versions: Iterable[Facts]) -> str:
    head = ("alias", "version", "sha256", "rank", "bytes", "tenant", "owner", "DataNets (basis points)")
    rows = [head]
    for said in versions:
        start = (
            said["alias"],
            str(said["version"]),
            said["sha256"][:12],
            str(said["rank"]),
            str(said["bytes"]),
        )
        rows.append((*start, said["tenant"], _plain(said["owner"]), _plain(said["datanets"])))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _lines(said: Facts) -> str:
    shown = {key: _plain(value) for key, value in said.items() if key != "payees"}
    paid = "".join(f"pays: {p['share']} of {p['part']} to {p['address']}\n" for p in said["payees"])
    return "".join(f"{key}: {value}\n" for key, value in shown.items()) + (
        paid or "pays: nobody, no manifest\n"
    )


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {share}" for name, share in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "unknown" if value is None else str(value)


def _write(document: dict[str, Any], as_json: bool, text: str) -> None:
    sys.stdout.write(json.dumps(document) + "\n" if as_json else text)
