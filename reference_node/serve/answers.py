"""Bodies that the routes answer with, as OpenAPI declares them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

FinishReason = Literal["stop", "length"]


class PromptDetails(BaseModel):
    """Prompt tokens that cost no computation."""

    cached_tokens: int


class Usage(BaseModel):
    """Tokens of a request, as billed."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails


class BillNote(BaseModel):
    """The bill of a request; `request_id` names it in the log."""

    fee_gwei: int
    request_id: str


class Answer(BaseModel):
    """What every answer carries; `system_fingerprint` names base and adapters by their hashes."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    usage: Usage
    bill: BillNote


class ChatMessage(BaseModel):
    """The generated message."""

    role: Literal["assistant"]
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    """The one choice of a chat completion."""

    index: int
    message: ChatMessage
    logprobs: None = None
    token_ids: list[int] | None = None
    finish_reason: FinishReason


class ChatCompletion(Answer):
    """Answer of /v1/chat/completions."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]


class TextChoice(BaseModel):
    """The one choice of a completion."""

    index: int
    text: str
    logprobs: None = None
    token_ids: list[int] | None = None
    finish_reason: FinishReason


class TextCompletion(Answer):
    """Answer of /v1/completions."""

    object: Literal["text_completion"]
    choices: list[TextChoice]


class Model(BaseModel):
    """One name that `model` may have; `sha256` is what it means now."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    sha256: str
    parent: str | None


class ModelList(BaseModel):
    """Answer of /v1/models."""

    object: Literal["list"]
    data: list[Model]


class HealthAnswer(BaseModel):
    """Whether the node serves."""

    status: Literal["ok", "draining", "dead"]
    detail: str
    base_sha256: str
    waiting: int
    running: int
