"""From tokens back to text: the bytes of each token, and when text is certain enough to send.

Rule decided here: a token stands for bytes, and a stream of tokens is decoded as one UTF-8 stream. A character whose
bytes are spread over tokens appears with its last byte; what can no longer become a character is one replacement
character (U+FFFD); an incomplete character at the very end becomes one at `flush` and never before. Special tokens have
no text.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.errors import InputError, Problem

BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
WORD_START = "\u2581"  # SentencePiece writes a space as this block


@dataclass(frozen=True, slots=True)
class Pieces:
    """The bytes of every token of a vocabulary.

    Parameters
    ----------
    table
        Bytes by token id; empty for special tokens and gaps.
    strips_space
        Whether one space at the very beginning of a text is dropped (SentencePiece adds it when encoding).
    """

    table: tuple[bytes, ...]
    strips_space: bool

    @classmethod
    def read(cls, raw: Mapping[str, Any], vocabulary: Mapping[str, int], where: str) -> Pieces:
        """Return the pieces of a `tokenizer.json`.

        Parameters
        ----------
        raw
            The file's content.
        vocabulary
            Token to id, added tokens included.

        Raises
        ------
        InputError
            When its decoder is neither byte-level nor SentencePiece with byte fallback.
        """
        kinds = {step.get("type") for step in _steps(raw.get("decoder") or {})}
        if not kinds & {"ByteLevel", "ByteFallback"}:
            shown = ", ".join(sorted(map(str, kinds))) or "none"
            message = f"decoder {shown} is not supported; allowed ByteLevel, ByteFallback"
            raise InputError([Problem(message, "decoder", where)])
        alphabet = byte_alphabet() if "ByteLevel" in kinds else None
        added = {token["id"]: token for token in raw.get("added_tokens", [])}
        table = [b""] * (max(vocabulary.values()) + 1)
        for token, index in vocabulary.items():
            if index in added:
                table[index] = b"" if added[index]["special"] else token.encode()
            elif alphabet is not None:
                table[index] = _byte_level_bytes(token, alphabet)
            else:
                table[index] = _sentencepiece_bytes(token)
        return cls(tuple(table), strips_space="Strip" in kinds)


class Detokenizer:
    """Text of a stream of tokens, given out as soon as it is certain.

    Examples
    --------
    >>> stream = Detokenizer(Pieces((bytes([0xC3]), bytes([0xA9]), b"!"), strips_space=False))
    >>> [stream.push(token) for token in (0, 1, 2, 0)], stream.flush()
    (['', 'é', '!', ''], '\ufffd')
    """

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._at_start = pieces.strips_space

    def push(self, token: int) -> str:
        """Return the text that this token made certain; ids outside the vocabulary have none."""
        table = self._pieces.table
        return self._emit(self._decoder.decode(table[token] if 0 <= token < len(table) else b""))

    def flush(self) -> str:
        """Return what was held back, an incomplete character as U+FFFD; the stream may go on after it."""
        return self._emit(self._decoder.decode(b"", final=True))

    def _emit(self, text: str) -> str:
        if self._at_start and text:
            self._at_start = False
            return text.removeprefix(" ")
        return text


def decode(pieces: Pieces, tokens: Sequence[int]) -> str:
    """Return the text of finished tokens: what a `Detokenizer` gives, in one piece."""
    stream = Detokenizer(pieces)
    return "".join([*(stream.push(token) for token in tokens), stream.flush()])


def byte_alphabet() -> dict[str, int]:
    """Return the printable letters that byte-level BPE writes for the 256 bytes.

    Printable bytes of Latin-1 stand for themselves, the others for the letters from U+0100 on, in order (the alphabet
    of GPT-2, which all byte-level vocabularies share).
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


def _byte_level_bytes(token: str, alphabet: Mapping[str, int]) -> bytes:
    """Return what a byte-level token stands for; one with a letter outside the alphabet stands for itself."""
    outside = any(letter not in alphabet for letter in token)
    return token.encode() if outside else bytes(alphabet[letter] for letter in token)


def _sentencepiece_bytes(token: str) -> bytes:
    match = BYTE_TOKEN.fullmatch(token)
    return bytes([int(match[1], 16)]) if match else token.replace(WORD_START, " ").encode()


def _steps(decoder: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return a decoder's steps, nested sequences flattened."""
    if decoder.get("type") != "Sequence":
        return [decoder] if decoder else []
    return [step for inner in decoder.get("decoders", []) for step in _steps(inner)]
