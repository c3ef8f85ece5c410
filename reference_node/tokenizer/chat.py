"""From a conversation to the text that the model was trained on: the checkpoint's own chat template.

Rule decided here: the template is read where transformers reads it (`chat_template.jinja`, else
`tokenizer_config.json`) and rendered as transformers renders it, in a sandbox that can change nothing. One difference
is on purpose: templates get no clock (`strftime_now`), so that a conversation is the same prompt, and costs the same,
on every day.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from models.errors import InputError, Problem

TEMPLATE_FILE, SETTINGS_FILE = "chat_template.jinja", "tokenizer_config.json"
NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# Private-use letters around a number stand for a message's content while the template is rendered.
MARK_OPEN, MARK_CLOSE = "\ue0f0", "\ue0f1"

Messages = Sequence[Mapping[str, str]]


class ChatTemplate:
    """A compiled chat template with the special tokens that it may name.

    Parameters
    ----------
    source
        Jinja text.
    tokens
        Values of `bos_token`, `eos_token` and so on.
    where
        File that errors name.
    """

    def __init__(self, source: str, tokens: Mapping[str, str], where: str) -> None:
        import jinja2
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        self._failure = jinja2.TemplateError
        self._tokens, self._where = dict(tokens), where
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            message = f"the chat template is not valid: {error.message}"
            raise InputError([Problem(message, where=f"{where}:{error.lineno}")]) from error

    def render(self, messages: Messages, *, generation_prompt: bool) -> str:
        """Return the conversation as one text, special tokens written out.

        Raises
        ------
        InputError
            When the template refuses the conversation, for example a role that it does not know.
        """
        try:
            return self._template.render(
                messages=[dict(message) for message in messages],
                add_generation_prompt=generation_prompt,
                tools=None,
                documents=None,
                **self._tokens,
            )
        except (self._failure, TypeError, KeyError) as error:
            raise InputError(
                [Problem(f"the chat template refuses the messages: {error}", "messages")]
            ) from error

    def render_apart(self, messages: Messages, *, generation_prompt: bool) -> list[tuple[str, bool]]:
        """Return the conversation as (text, is markup) parts, so that content can not pass for markup.

        Raises
        ------
        InputError
            When the template does not write every content once and unchanged.
        """
        marked = [{**message, "content": f"{MARK_OPEN}{i}{MARK_CLOSE}"} for i, message in enumerate(messages)]
        rest, parts = self.render(marked, generation_prompt=generation_prompt), []
        for message, place in zip(messages, marked, strict=True):
            markup, found, rest = rest.partition(place["content"])
            if not found:
                message = "a message holds a control token, and this chat template can not quote it"
                raise InputError([Problem(message, "messages")])
            parts += [(markup, True), (message["content"], False)]
        return [*parts, (rest, True)]


def read_template(folder: Path) -> ChatTemplate | None:
    """Return the chat template of a transformers folder, or None where it has none."""
    settings = read_settings(folder)
    path = folder / TEMPLATE_FILE
    source = path.read_text(encoding="utf-8") if path.is_file() else settings.get("chat_template")
    if isinstance(source, list):
        source = next((entry["template"] for entry in source if entry.get("name") == "default"), None)
    if not isinstance(source, str):
        return None
    tokens = {name: text for name in NAMED_TOKENS if (text := token_text(settings.get(name)))}
    return ChatTemplate(source, tokens, str(path if path.is_file() else folder / SETTINGS_FILE))


def read_settings(folder: Path, name: str = SETTINGS_FILE) -> dict[str, Any]:
    """Return a JSON file of a transformers folder; empty where it is absent.

    Raises
    ------
    InputError
        When the file is not a JSON mapping.
    """
    path = folder / name
    if not path.is_file():
        return {}
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError([Problem(f"not valid JSON: {error}", where=str(path))]) from error
    if not isinstance(raw, dict):
        raise InputError([Problem("not a JSON mapping", where=str(path))])
    return raw


def token_text(value: Any) -> str:
    """Return the text of a special token: transformers writes a string or a mapping with `content`."""
    return (
        str(value.get("content", "")) if isinstance(value, dict) else value if isinstance(value, str) else ""
    )


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    import jinja2

    raise jinja2.TemplateError(message)
