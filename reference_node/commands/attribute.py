"""`olsim node attribute`: make a bundle, explain an answer, write an influence profile.

Rule decided here: results go to standard output, progress to standard error; bad input is refused with all mistakes
before anything is written.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.errors import InputError
from reference_node.commands import need_packages

if TYPE_CHECKING:
    from reference_node.attribution.attributor import Attributor
    from reference_node.attribution.explain import Explanation

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Base = Annotated[
    Path | None, typer.Option(help="transformers folder of the base model; the tiny base when left out.")
]
attribute_app = typer.Typer(
    help="Whose data answers rest on: bundles for a node, explanations, profiles for the simulation.",
    no_args_is_help=True,
)


@attribute_app.command("build")
def build(
    adapter: Annotated[Path, typer.Argument(help="Adapter folder that olsim node train wrote.")],
    dataset: Annotated[Path, typer.Argument(help="JSONL rows that it was trained on.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")],
    base: Base = None,
    bank: Annotated[
        int, typer.Option(help="States of a coalition bank (tier 2), each trained here; 0: tier 1 alone.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Make what a node needs to attribute the answers of an adapter; a stopped build goes on."""
    need_packages("torch", "tokenizers", "safetensors")
    from reference_node.attribution.prepare import prepare_bundle
    from reference_node.tiny_base import folder

    def progress(done: int, every: int) -> None:
        sys.stderr.write(f"\rbank: state {done} of {every}" + ("\n" if done == every else ""))
        sys.stderr.flush()

    made = prepare_bundle(adapter, dataset, out, base or folder(), bank=bank, progress=progress)
    holders = {one.owner for one in made.documents}
    said = {
        "bundle": str(out),
        "adapter_sha256": made.adapter_sha256,
        "documents": len(made.documents),
        "contributors": len(holders),
        "restricted": sum(one.restricted for one in made.documents),
        "bank": made.bank,
    }
    tier = f"tier 2 with {made.bank} states" if made.bank else "tier 1"
    _write(
        said
        if as_json
        else f"{out}: {len(made.documents)} documents of {len(holders)} contributors, {tier}\n"
    )


@attribute_app.command("explain")
def explain_answer(
    bundle: Annotated[Path, typer.Argument(help="Folder that olsim node attribute build made.")],
    prompt: Annotated[str, typer.Option(help="What was asked, as a user's message.")],
    answer: Annotated[str, typer.Option(help="What was answered.")],
    base: Base = None,
    as_json: AsJson = False,
) -> None:
    """Say whose data an answer rests on, by every method, and which of its words stand where."""
    need_packages("torch", "tokenizers", "safetensors")
    from dataclasses import asdict

    from reference_node.attribution.attributor import text_of
    from reference_node.attribution.explain import explain
    from reference_node.tokenizer import TextCodec

    one, codec = _opened(bundle, base)
    asked = codec.chat([{"role": "user", "content": prompt}]) if codec.has_chat else codec.prompt(prompt)
    tokens = codec.encode(answer)
    found = explain(one, text_of(asked, tokens))
    assert isinstance(codec, TextCodec)
    if as_json:
        _write({"methods": found.shares, "spans": [asdict(span) for span in found.spans]})
        return
    stream = codec.stream()
    words = [stream.push(token) for token in tokens]
    _write(_table(found) + _spans(found, words, len(asked)))


@attribute_app.command("profile")
def profile(
    log: Annotated[Path, typer.Argument(help="Folder of a billing log with attributed answers.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    classes: Annotated[
        list[str], typer.Option("--class", help="CLASS=ADAPTER, by alias or hash; once for each class.")
    ],
    name: Annotated[str, typer.Option(help="Id of the profile.")] = "measured",
    ranks: Annotated[int, typer.Option(help="Contributors that are told apart.")] = 8,
    period: Annotated[int, typer.Option(help="Answers of a period, for the dispersion.")] = 20,
    source: Annotated[str, typer.Option(help="What was asked of which node.")] = "Measured by olsim node.",
) -> None:
    """Write the influence profile that the simulation draws contributors' shares from."""
    from reference_node.access.files import write_atomic
    from reference_node.attribution.influence_profile import influence_document

    pairs = [text.partition("=")[::2] for text in classes]
    wrong = [text for text, (one, adapter) in zip(classes, pairs, strict=True) if not one or not adapter]
    if wrong:
        raise InputError([f"--class {text}: expected CLASS=ADAPTER" for text in wrong])
    document = influence_document(log, dict(pairs), name=name, ranks=ranks, period=period, source=source)
    write_atomic(out, f"{json.dumps(document, indent=1)}\n".encode())
    answers = {one: entry["answers"] for one, entry in document["query_classes"].items()}
    _write(f"{out}: " + ", ".join(f"{one} from {count} answers" for one, count in answers.items()) + "\n")


def _opened(folder: Path, base: Path | None) -> tuple[Attributor, Any]:
    from reference_node.attribution.attributor import Attributor
    from reference_node.attribution.bundle import Bundle
    from reference_node.tiny_base import folder as tiny
    from reference_node.tokenizer import TextCodec
    from reference_node.weights import base_sha256, load_model

    bundle, place = Bundle.open(folder), base or tiny()
    codec = TextCodec.from_folder(place)
    model, tensors = load_model(place)
    found = base_sha256(tensors, codec.sha256)
    if found != bundle.base_sha256:
        raise InputError(f"{folder} is of base model {bundle.base_sha256}; {place} is {found}")
    return Attributor(model, bundle), codec


def _table(found: Explanation) -> str:
    """Return shares as a table: contributors down, methods across, the largest by the last method first."""
    methods = list(found.shares)
    holders = sorted({h for parts in found.shares.values() for h in parts}, key=lambda h: _order(found, h))
    lines = [f"{'contributor':<32}" + "".join(f"{method:>16}" for method in methods)]
    for holder in holders:
        cells = (found.shares[method].get(holder, 0.0) for method in methods)
        lines.append(f"{holder:<32}" + "".join(f"{100 * share:>14.1f} %" for share in cells))
    return "\n".join(lines) + "\n"


def _order(found: Explanation, holder: str) -> tuple[float, str]:
    return -found.shares[list(found.shares)[-1]].get(holder, 0.0), holder


def _spans(found: Explanation, words: list[str], start: int) -> str:
    lines = []
    for span in found.spans:
        text = "".join(words[max(span.start - start, 0) : span.stop - start]).strip()
        where = ", ".join(f"{source.document} ({source.owner})" for source in span.sources[:3])
        lines.append(f"{text!r}: {span.count} x, {where}\n")
    return "\n" + "".join(lines) if lines else ""


def _write(shown: Any) -> None:
    sys.stdout.write(shown if isinstance(shown, str) else json.dumps(shown) + "\n")
