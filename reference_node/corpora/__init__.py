"""Corpora written for this project: general English for the tiny base, and niches for its adapters.

Rule decided here: which texts ship with the node, and where. All of them are synthetic, written by hand as tables
and sentence patterns (`sources/*.yaml`) and multiplied by `python -m reference_node.corpora.write`; they give no
medical, legal or financial advice. Licence: MIT, like the project. `README.md` says more.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
NICHES = ("medicine", "law", "verse", "openledger")


def general() -> Path:
    """Return the general corpus: rows with `text`, or with `prompt` and `completion`."""
    return FOLDER / "general.jsonl"


def niche(name: str) -> Path:
    """Return the training rows of a niche: id, datanet, contributor, prompt, completion."""
    return FOLDER / f"{name}.jsonl"


def held_out(name: str) -> Path:
    """Return rows of a niche whose prompts are in no training row."""
    return FOLDER / "heldout" / f"{name}.jsonl"
