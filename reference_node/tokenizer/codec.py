"""Text to token ids and back, for the tiny base and for any transformers folder with a `tokenizer.json`.

Rule decided here: what a person writes never becomes a special token. Only the chat template, and the checkpoint's own
beginning-of-text rule, put special tokens into a prompt; a message that spells `<|end|>` is tokenised as those letters.
Without such a message the ids are those of transformers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.errors import InputError, Problem
from reference_node.tokenizer.chat import ChatTemplate, Messages, read_settings, read_template, token_text
from reference_node.tokenizer.pieces import Detokenizer, Pieces, decode

TOKENIZER_FILE = "tokenizer.json"


class TextCodec:
    """A tokenizer with its chat form; safe to use from several threads.

    Parameters
    ----------
    data
        Bytes of a `tokenizer.json`.
    template
        The chat template, None where the checkpoint has none.
    eos_names, eos_ids
        Tokens that end an answer, by text and by id.
    where
        File that errors name.
    """

    def __init__(
        self,
        data: bytes,
        template: ChatTemplate | None,
        *,
        eos_names: Sequence[str] = (),
        eos_ids: Sequence[int] = (),
        where: str = TOKENIZER_FILE,
    ) -> None:
        from tokenizers import Tokenizer

        try:
            self._markup = Tokenizer.from_str(data.decode("utf-8"))
            self._plain = Tokenizer.from_str(data.decode("utf-8"))
            raw = json.loads(data)
        except Exception as error:  # the library raises bare exceptions
            raise InputError([Problem(f"not a readable tokenizer: {error}", where=where)]) from error
        self._plain.encode_special_tokens = True
        for tokenizer in (self._markup, self._plain):
            tokenizer.no_truncation()
            tokenizer.no_padding()
        vocabulary = self._markup.get_vocab(with_added_tokens=True)
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.vocab_size = max(vocabulary.values()) + 1
        named = (vocabulary[name] for name in eos_names if name in vocabulary)
        self.eos_ids = tuple(sorted({*named, *eos_ids}))
        self._template = template
        self._pieces = Pieces.read(raw, vocabulary, where)
        self._specials = tuple(t["content"] for t in raw.get("added_tokens", []) if t["special"])

    @classmethod
    def bundled(cls) -> TextCodec:
        """Return the committed tokenizer, which the tiny base speaks."""
        return cls.from_folder(Path(__file__).parent)

    @classmethod
    def from_folder(cls, folder: Path) -> TextCodec:
        """Return the tokenizer of a transformers folder.

        Raises
        ------
        InputError
            When `tokenizer.json` is missing or unreadable, or of a kind that is not served.
        """
        path = folder / TOKENIZER_FILE
        try:
            data = path.read_bytes()
        except OSError as error:
            message = f"cannot read the tokenizer (only {TOKENIZER_FILE} is accepted): {error.strerror}"
            raise InputError([Problem(message, where=str(path))]) from error
        generation, config = (
            read_settings(folder, "generation_config.json"),
            read_settings(folder, "config.json"),
        )
        ids = _ids(generation.get("eos_token_id")) or _ids(config.get("eos_token_id"))
        name = token_text(read_settings(folder).get("eos_token"))
        return cls(data, read_template(folder), eos_names=[name], eos_ids=ids, where=str(path))

    @property
    def has_chat(self) -> bool:
        """Return whether the checkpoint has a chat template."""
        return self._template is not None

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text alone, so that `decode(encode(text)) == text` for byte-level tokenizers."""
        return list(self._plain.encode(text, add_special_tokens=False).ids)

    def prompt(self, text: str) -> list[int]:
        """Return the ids of a text to be continued: as `encode`, with the checkpoint's beginning of text."""
        return list(self._plain.encode(text, add_special_tokens=True).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; special tokens have none, broken characters become U+FFFD."""
        return decode(self._pieces, ids)

    def stream(self) -> Detokenizer:
        """Return a decoder that takes ids one by one."""
        return Detokenizer(self._pieces)

    def chat(self, messages: Messages, *, generation_prompt: bool = True) -> list[int]:
        """Return the ids of a conversation, by default ready for the assistant's answer.

        Parameters
        ----------
        messages
            Mappings with `role` and `content`.

        Raises
        ------
        InputError
            When the checkpoint has no chat template, or the template refuses the messages.
        """
        if self._template is None:
            raise InputError("this base model has no chat template; send a completion request instead")
        if any(special in message["content"] for message in messages for special in self._specials):
            parts = self._template.render_apart(messages, generation_prompt=generation_prompt)
        else:
            parts = [(self._template.render(messages, generation_prompt=generation_prompt), True)]
        ids: list[int] = []
        for text, markup in parts:
            tokenizer = self._markup if markup else self._plain
            ids += tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def _ids(value: Any) -> list[int]:
    """Return `eos_token_id` as a list: transformers writes a number, a list or null."""
    return [value] if type(value) is int else [i for i in value or [] if type(i) is int]
