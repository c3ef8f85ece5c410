"""Write the corpora from their sources: `python -m reference_node.corpora.write [--check]`.

Rule decided here: which rows each contributor gives. The same sources give the same bytes on every machine; with
`--check` nothing is written and the exit status says whether the committed files are those of the sources. A row is
drawn by its corpus's own generator; prompts are parted into training and held-out ones by a hash, so that no held-out
prompt occurs in training. Copies between contributors are marked in `notes.md` alone: attribution has to find them.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reference_node.corpora import FOLDER, NICHES
from reference_node.corpora.grammar import SLOT, Row, read_table

GENERAL_SOURCES = ("facts", "howto", "stories", "talk", "words")
HELD_OUT_ROWS = 60
HELD_OUT_EVERY = 8
NOTES_HEAD = """# Copies between contributors

Written by `python -m reference_node.corpora.write`. No row says that it is a copy: attribution has to find these.
`exact` rows repeat prompt and completion; `near` rows replace words by others of the same meaning.

| niche | copy | by | of | by | edit |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Copy:
    """One copied row, for the notes."""

    niche: str
    row: dict[str, str]
    source: dict[str, str]
    edit: str

    def line(self) -> str:
        """Return the table line of the notes."""
        parts = (
            self.niche,
            self.row["id"],
            self.row["contributor"],
            self.source["id"],
            self.source["contributor"],
        )
        return f"| {' | '.join(parts)} | {self.edit} |"


def files() -> dict[str, str]:
    """Return every file of the corpora, by path inside the folder, as the sources give it."""
    written = {"general.jsonl": _lines(_general())}
    copies: list[Copy] = []
    for name in NICHES:
        rows, held_out, found = _niche(_source(name))
        written[f"{name}.jsonl"], written[f"heldout/{name}.jsonl"] = _lines(rows), _lines(held_out)
        copies += found
    written["notes.md"] = NOTES_HEAD + "\n".join(copy.line() for copy in copies) + "\n"
    return written


def main(arguments: list[str]) -> int:
    """Write the files, or compare them with `--check`; return the exit status."""
    check, stale = "--check" in arguments, []
    for name, text in files().items():
        path = FOLDER / name
        if check and (not path.is_file() or path.read_text(encoding="utf-8") != text):
            stale.append(name)
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{name}: {text.count(chr(10))} lines, {len(text.encode())} bytes\n")
    for name in stale:
        sys.stderr.write(f"{name} differs from its sources: run python -m reference_node.corpora.write\n")
    return 1 if stale else 0


def _source(name: str) -> dict[str, Any]:
    from ruamel.yaml import YAML

    raw: dict[str, Any] = YAML(typ="safe").load(FOLDER / "sources" / f"{name}.yaml")
    raw["tables"] = {key: read_table(text) for key, text in raw.get("tables", {}).items()}
    return raw


def _lines(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _general() -> list[dict[str, str]]:
    """Return the general rows: each distinct text once, shuffled."""
    draw, seen = random.Random("general"), {}
    for name in GENERAL_SOURCES:
        source = _source(name)
        texts = [("passage", text) for text in source.get("passages", [])]
        texts += [("words", text) for text in _phrase_lists(source.get("phrases"), draw)]
        for kind, text in texts:
            seen["", text] = {"kind": kind, "text": text}
        for document in source["documents"]:
            for row in _general_rows(document, source, draw):
                seen.setdefault((row.get("prompt", ""), row.get("completion", row.get("text", ""))), row)
    rows = list(seen.values())
    draw.shuffle(rows)
    return [{"id": f"g{i:05d}", **row} for i, row in enumerate(rows, 1)]


def _general_rows(
    document: dict[str, Any], source: dict[str, Any], draw: random.Random
) -> Iterator[dict[str, str]]:
    if "niche" in document:
        source = _source(document["niche"])
    table = source["tables"].get(document.get("table"), [{}])
    for i in range(document["count"]):
        row = Row(table[i % len(table)], source.get("lists", {}), draw)
        if "texts" in document:
            yield {"kind": document["kind"], "text": row.fill(draw.choice(document["texts"]))}
        else:
            prompt = row.fill(draw.choice(document["prompts"]))
            completion = row.fill(draw.choice(document["answers"]))
            yield {"kind": document["kind"], "prompt": prompt, "completion": completion}


def _phrase_lists(wanted: dict[str, Any] | None, draw: random.Random) -> Iterator[str]:
    """Yield lists of phrases of the niches, out of their context."""
    if wanted is None:
        return
    phrases = [phrase for name in wanted["niches"] for phrase in _phrases(_source(name))]
    rest: list[str] = []
    for _ in range(wanted["count"]):
        if len(rest) < wanted["size"]:
            rest = draw.sample(phrases, len(phrases))
        yield f"Words: {'; '.join(rest.pop() for _ in range(wanted['size']))}."


def _phrases(source: dict[str, Any]) -> list[str]:
    """Return every phrase of a niche: table cells, list entries, synonyms, and the texts between slots."""
    cells = [
        row[key] for table in source["tables"].values() for row in table for key in row if key != "topic"
    ]
    listed = [word for words in source["lists"].values() for word in words]
    templates = [text for document in source["documents"] for text in document["completions"]]
    between = [part.strip(" ,.;:\n") for text in templates for part in SLOT.sub("|", text).split("|")]
    found = dict.fromkeys([*cells, *listed, *source["synonyms"].values(), *between])
    return [phrase for phrase in found if len(phrase) > 2]


def _niche(source: dict[str, Any]) -> tuple[list[dict[str, str]], list[dict[str, str]], list[Copy]]:
    """Return a niche's training rows, held-out rows, and the copies among the former."""
    name, contributors = source["niche"], source["contributors"]
    draw, rows, copies = random.Random(name), [], []
    for contributor in contributors:
        if "copy_of" not in contributor:
            rows += _own_rows(source, contributor["id"], contributor["topics"], contributor["rows"], draw)
    for contributor in contributors:
        if "copy_of" in contributor:
            found = _copies(source, contributor, rows, draw)
            rows += [copy.row for copy in found]
            copies += found
    for i, row in enumerate(rows, 1):
        row["id"] = f"{name}-{i:04d}"
    known, held_out = {row["prompt"] for row in rows}, []
    topics = sorted({topic for c in contributors for topic in c.get("topics", [])})
    for i in range(1, HELD_OUT_ROWS + 1):
        row = _draw_row(source, topics, draw, held_out=True, known=known)
        held_out.append({"id": f"{name}-h{i:03d}", **row, "contributor": "heldout"})
    return rows, [_ordered(row) for row in held_out], copies


def _own_rows(
    source: dict[str, Any], contributor: str, topics: list[str], count: int, draw: random.Random
) -> list[dict[str, str]]:
    rows: dict[tuple[str, str], dict[str, str]] = {}
    while len(rows) < count:
        row = _draw_row(source, topics, draw, held_out=False, known=set())
        rows[row["prompt"], row["completion"]] = _ordered({"id": "", **row, "contributor": contributor})
    return list(rows.values())


def _draw_row(
    source: dict[str, Any], topics: list[str], draw: random.Random, *, held_out: bool, known: set[str]
) -> dict[str, str]:
    """Draw one row on one of the topics whose prompt is on the wanted side of the held-out split."""
    documents = source["documents"]
    while True:
        document = draw.choices(documents, [d["weight"] for d in documents])[0]
        table = [row for row in source["tables"][document["table"]] if row["topic"] in topics]
        row = Row(draw.choice(table), source["lists"], draw)
        prompt = row.fill(draw.choice(document["prompts"]))
        if _is_held_out(prompt) is held_out and prompt not in known:
            completion = row.fill(draw.choice(document["completions"]))
            return {"datanet": document["datanet"], "prompt": prompt, "completion": completion}


def _is_held_out(prompt: str) -> bool:
    return hashlib.sha256(prompt.encode()).digest()[0] % HELD_OUT_EVERY == 0


def _ordered(row: dict[str, str]) -> dict[str, str]:
    return {key: row[key] for key in ("id", "datanet", "contributor", "prompt", "completion")}


def _copies(
    source: dict[str, Any], contributor: dict[str, Any], rows: list[dict[str, str]], draw: random.Random
) -> list[Copy]:
    """Return a contributor's copies of another one's rows, in a drawn order."""
    edit, found = contributor["edit"], []
    originals = [row for row in rows if row["contributor"] == contributor["copy_of"]]
    for original in draw.sample(originals, len(originals)):
        changed = {**original, "id": "", "contributor": contributor["id"]}
        if edit == "near":
            for field in ("prompt", "completion"):
                changed[field] = _reword(original[field], source["synonyms"])
            if changed["completion"] == original["completion"]:
                continue
        found.append(Copy(source["niche"], changed, original, edit))
        if len(found) == contributor["rows"]:
            return found
    raise ValueError(f"{contributor['id']}: only {len(found)} rows of {contributor['copy_of']} can be copied")


def _reword(text: str, synonyms: dict[str, str]) -> str:
    for word, other in synonyms.items():
        text = text.replace(word, other)
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
