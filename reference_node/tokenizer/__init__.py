"""Text and tokens: one committed byte-level BPE, and the tokenizers of transformers folders.

Rule decided here: which tokenizer belongs to the tiny base, and its special tokens. Its hash is part of the base
model's hash, because other tokens are another model to whoever pays per token.
"""

from __future__ import annotations

from pathlib import Path

from reference_node.tokenizer.codec import TextCodec
from reference_node.tokenizer.pieces import Detokenizer

__all__ = ["SPECIAL_TOKENS", "Detokenizer", "TextCodec", "bundled_file"]

SPECIAL_TOKENS = ("<|bos|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")


def bundled_file() -> Path:
    """Return the committed tokenizer; `tokenizer_config.json` with the chat template lies beside it."""
    return Path(__file__).parent / "tokenizer.json"
