"""From what a client wrote to token ids.

Rules: a developer message counts as a system message. Only text is served: any other part of a message is refused by
its type, and so is a message that carries tool calls. Several prompts in one request are refused, because each request
has one bill.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from models.errors import InputError
from reference_node.serve.errors import bad_request
from reference_node.serve.node import Node
from reference_node.serve.schemas import ChatRequest, CompletionRequest, Message

THREAD_CHARS = 20_000  # longer texts are tokenised off the event loop
ROLES = {"developer": "system"}


async def chat_prompt(node: Node, body: ChatRequest) -> list[int]:
    """Return the token ids of a conversation, ready for the answer.

    Raises
    ------
    ApiError
        400 for a message that is not text.
    """
    messages = [
        {"role": ROLES.get(message.role, message.role), "content": _content(message, index)}
        for index, message in enumerate(body.messages)
    ]
    size = sum(len(message["content"]) for message in messages)
    return await _tokenise(lambda: node.codec.chat(messages), size, "messages")


async def text_prompt(node: Node, body: CompletionRequest) -> list[int]:
    """Return the token ids of a prompt that is a text or already token ids.

    Raises
    ------
    ApiError
        400 for several prompts, or for ids outside the vocabulary.
    """
    prompt = body.prompt
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
        if len(prompt) != 1:
            raise bad_request(
                f"{len(prompt)} prompts; one for each request", "prompt", "unsupported_parameter"
            )
        prompt = prompt[0]
    if isinstance(prompt, str):
        text = prompt
        return await _tokenise(lambda: node.codec.prompt(text), len(text), "prompt")
    ids = [token for token in prompt if isinstance(token, int)]
    vocab = node.codec.vocab_size
    wrong = [token for token in ids if token >= vocab]
    if wrong:
        raise bad_request(f"token id {wrong[0]}: allowed 0 to {vocab - 1}", "prompt", "invalid_value")
    return ids


def _content(message: Message, index: int) -> str:
    extra = message.model_extra or {}
    for field in ("tool_calls", "function_call", "audio"):
        if extra.get(field):
            raise bad_request(
                f"messages.{index}.{field} is not supported by this node",
                f"messages.{index}.{field}",
                "unsupported_parameter",
            )
    if message.content is None:
        raise bad_request(
            f"messages.{index}.content is missing", f"messages.{index}.content", "invalid_value"
        )
    if isinstance(message.content, str):
        return message.content
    for place, part in enumerate(message.content):
        if part.type != "text" or part.text is None:
            where = f"messages.{index}.content.{place}"
            raise bad_request(
                f"{where}: a part of type {part.type!r} is not supported; allowed text",
                where,
                "unsupported_parameter",
            )
    return "".join(part.text or "" for part in message.content)


async def _tokenise(work: Callable[[], list[int]], size: int, param: str) -> list[int]:
    try:
        return await asyncio.to_thread(work) if size > THREAD_CHARS else work()
    except UnicodeError as error:
        raise bad_request(f"{param} is no valid text: {error}", param, "invalid_value") from error
    except InputError as error:
        raise bad_request(str(error), param, "invalid_value") from error
