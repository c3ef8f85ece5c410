"""Bundle: what a node must have at hand to attribute the answers of one adapter.

Rules decided here. A folder made once from the adapter and the dataset that it was trained on: the documents as tokens,
their span index, and a cache of gradients and of the bank's adapters. Everything in it is of one adapter, one dataset
and one base model, by hash. Every document is somebody's in the adapter's manifest; those of restricted DataNets are
left out of the span index. A file that was changed later is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.errors import InputError, Problem
from reference_node.access.files import write_atomic
from reference_node.attribution.cache import Cache
from reference_node.attribution.retrain import Recipe
from reference_node.attribution.spans import SpanIndex
from reference_node.attribution.spans_corpus import SpanDocument, content_hash
from reference_node.manifest import AdapterManifest
from reference_node.strict_json import parse_json
from reference_node.train.dataset import Dataset, Sequenced

BUNDLE_FILE, DOCUMENTS_FILE, SPANS, CACHE = "bundle.json", "documents.jsonl", "spans", "cache"
SCHEMA = 1
_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk.

    Parameters
    ----------
    folder
        Where it lies.
    adapter_sha256, base_sha256, dataset_sha256
        What it belongs to.
    recipe
        How the adapter was trained, and those of the bank are.
    bank
        States of the bank, 0 without one.
    documents
        In the order of the dataset; `owner` is ``datanet/contributor``.
    """

    folder: Path
    adapter_sha256: str
    base_sha256: str
    dataset_sha256: str
    recipe: Recipe
    bank: int
    documents: tuple[SpanDocument, ...]

    @property
    def cache(self) -> Cache:
        """Cache of gradients and adapters."""
        return Cache(self.folder / CACHE)

    def index(self) -> SpanIndex | None:
        """Return the span index; None where every document is restricted."""
        return SpanIndex.open(self.folder / SPANS) if (self.folder / SPANS).is_dir() else None

    @classmethod
    def make(
        cls,
        folder: Path,
        dataset: Dataset,
        rows: list[Sequenced],
        adapter_sha256: str,
        base_sha256: str,
        manifest: AdapterManifest,
        recipe: Recipe,
    ) -> Bundle:
        """Write a bundle without gradients and bank.

        Parameters
        ----------
        folder
            Must not hold one.
        dataset, rows
            What the adapter was trained on, as text and as tokens.
        adapter_sha256, base_sha256, manifest
            The adapter.
        recipe
            How it was trained.

        Raises
        ------
        InputError
            If the folder holds a bundle, the dataset or the base is another one than the manifest names, or naming the
            documents that the manifest does not know.
        """
        _check(folder, dataset, base_sha256, manifest)
        documents = tuple(_documents(dataset, rows, manifest))
        folder.mkdir(parents=True, exist_ok=True)
        open_ones = [one for one in documents if not one.restricted]
        if open_ones:
            SpanIndex.build(open_ones, folder / SPANS)
        lines = (json.dumps(_row(one), separators=(",", ":")) for one in documents)
        write_atomic(folder / DOCUMENTS_FILE, "".join(f"{line}\n" for line in lines).encode())
        made = cls(folder, adapter_sha256, base_sha256, dataset.sha256, recipe, 0, documents)
        made.write()
        return made

    def write(self) -> None:
        """Write what the bundle says of itself."""
        said: dict[str, Any] = {
            "schema": SCHEMA,
            "adapter_sha256": self.adapter_sha256,
            "base_sha256": self.base_sha256,
            "dataset_sha256": self.dataset_sha256,
            "recipe": asdict(self.recipe),
            "bank": self.bank,
            "documents": len(self.documents),
        }
        write_atomic(self.folder / BUNDLE_FILE, f"{json.dumps(said, indent=1)}\n".encode())

    @classmethod
    def open(cls, folder: Path) -> Bundle:
        """Read a bundle.

        Raises
        ------
        InputError
            If there is none, it is of another schema, or naming the first document that is not what was registered.
        """
        path = folder / BUNDLE_FILE
        if not path.is_file():
            hint = "make one with olsim node attribute build"
            raise InputError([Problem(f"holds no attribution bundle; {hint}", where=str(folder))])
        said = parse_json(path.read_bytes(), where=str(path), bytes_max=_BYTES_MAX, depth_max=4)
        if not isinstance(said, dict) or said.get("schema") != SCHEMA:
            raise InputError(
                [Problem(f"is no bundle of schema {SCHEMA}; build it anew", "schema", str(path))]
            )
        recipe = Recipe(**said["recipe"] | {"targets": tuple(said["recipe"]["targets"])})
        documents = tuple(_read(folder / DOCUMENTS_FILE))
        if len(documents) != said["documents"]:
            message = f"holds {len(documents)} documents; {BUNDLE_FILE} says {said['documents']}"
            raise InputError([Problem(message, where=str(folder / DOCUMENTS_FILE))])
        hashes = (said[f"{name}_sha256"] for name in ("adapter", "base", "dataset"))
        return cls(folder, *hashes, recipe, said["bank"], documents)


def _check(folder: Path, dataset: Dataset, base_sha256: str, manifest: AdapterManifest) -> None:
    problems = []
    if (folder / BUNDLE_FILE).exists():
        problems.append(Problem("holds a bundle already; choose another folder", where=str(folder)))
    trained_on = (manifest.training or {}).get("dataset_sha256")
    if trained_on != dataset.sha256:
        message = (
            f"hashes to {dataset.sha256}; the adapter was trained on {trained_on or 'an unnamed dataset'}"
        )
        problems.append(Problem(message, where=str(dataset.path)))
    if manifest.base_sha256 not in (None, base_sha256):
        message = f"is {base_sha256}; the adapter was trained for {manifest.base_sha256}"
        problems.append(Problem(message, "base model"))
    if problems:
        raise InputError(problems)


def _documents(dataset: Dataset, rows: list[Sequenced], manifest: AdapterManifest) -> Iterator[SpanDocument]:
    nets = {net.id: net for net in manifest.datanets}
    known = {(net.id, one.id) for net in manifest.datanets for one in net.contributors}
    strange = [row for row in dataset.rows if (row.datanet, row.contributor) not in known]
    if strange:
        raise InputError(
            [
                Problem(
                    f"{row.contributor!r} of DataNet {row.datanet!r} is not in the adapter's manifest",
                    where=f"{dataset.path}:{row.line}",
                )
                for row in strange[:50]
            ]
        )
    for row, found in zip(dataset.rows, rows, strict=True):
        restricted = nets[row.datanet].restricted is not None
        digest = content_hash(found.tokens).hex()
        owner = f"{row.datanet}/{row.contributor}"
        yield SpanDocument(row.id, owner, found.tokens, digest, restricted, found.start)


def _row(one: SpanDocument) -> dict[str, Any]:
    return {
        "id": one.id,
        "owner": one.owner,
        "start": one.start,
        "restricted": one.restricted,
        "sha256": one.sha256,
        "tokens": one.tokens,
    }


def _read(path: Path) -> Iterator[SpanDocument]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            where = f"{path}:{number}"
            row = parse_json(line, where=where, bytes_max=_BYTES_MAX, depth_max=3)
            one = SpanDocument(**row | {"tokens": tuple(row["tokens"])})
            found = content_hash(one.tokens).hex()
            if found != one.sha256:
                message = f"hashes to {found}; registered is {one.sha256}"
                raise InputError([Problem(message, f"document {one.id!r}", where)])
            yield one
