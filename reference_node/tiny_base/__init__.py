"""The tiny base: a Llama of two million parameters, trained from scratch on the project's own general corpus.

Rule decided here: where the node's default base model lives. The folder is a transformers checkpoint (config, bf16
weights, tokenizer with chat template) made by `python -m reference_node.train.tiny_base`; `adapters/` beside it holds
one trained adapter per niche. It knows short facts and stories and is meant for tests and demonstrations.
"""

from __future__ import annotations

from pathlib import Path


def folder() -> Path:
    """Return the transformers folder of the tiny base, its tokenizer included."""
    return Path(__file__).parent
