"""Bodies of the inference routes: which fields are served, which are refused by name, which are ignored.

Rules: types are strict, because a guess about a wrong type is a wrong answer later. A field that OpenAI or vLLM define
and this node does not serve is refused with its name, unless it has the value that changes nothing. Fields that nobody
defines are accepted and ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SEED_MAX = (1 << 63) - 1
STOPS_MAX, STOP_CHARS_MAX = 16, 256

# Known fields that change the answer, each with the values at which it changes nothing.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "prompt_logprobs": (),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "length_penalty": (1,),
    "top_k": (-1, 0),
    "min_p": (0,),
    "min_tokens": (0,),
    "typical_p": (1,),
    "use_beam_search": (False,),
    "bad_words": ([],),
    "stop_token_ids": ([],),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "guided_json": (),
    "guided_regex": (),
    "guided_choice": (),
    "guided_grammar": (),
    "structured_outputs": (),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "reasoning_effort": ("none",),
    "web_search_options": (),
    "store": (False,),
    "prompt_embeds": (),
    "chat_template": (),
    "continue_final_message": (False,),
    "add_generation_prompt": (True,),
}


class Strict(BaseModel):
    """A body whose known fields have exactly their types."""

    model_config = ConfigDict(strict=True, extra="allow", protected_namespaces=())


class StreamOptions(Strict):
    """What a stream says beside its text."""

    include_usage: bool | None = None


class AdapterChoice(Strict):
    """One adapter of an ensemble."""

    model: str = Field(min_length=1, max_length=200, description="alias or alias@sha256:prefix")
    weight: float = Field(default=1.0, ge=-4, le=4, allow_inf_nan=False)


Stop = Annotated[str, Field(min_length=1, max_length=STOP_CHARS_MAX)]


class Generate(Strict):
    """Fields that chat and completions share."""

    model: str = Field(min_length=1, max_length=200, description="base, alias or alias@sha256:prefix")
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    seed: int | None = Field(default=None, ge=-SEED_MAX - 1, le=SEED_MAX)
    stop: Stop | Annotated[list[Stop], Field(max_length=STOPS_MAX)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    ignore_eos: bool | None = Field(default=None, description="generate max_tokens whatever the model says")
    return_token_ids: bool | None = Field(default=None, description="token_ids beside the text, as vLLM does")
    adapters: Annotated[list[AdapterChoice], Field(min_length=1)] | None = Field(
        default=None, description="ensemble of weighted adapters; model must then be base"
    )
    user: str | None = None

    def stops(self) -> tuple[str, ...]:
        """Return the stop strings as a tuple."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    def tokens_wanted(self) -> int | None:
        """Return the client's bound on generated tokens."""
        return self.max_tokens

    def unsupported(self) -> list[str]:
        """Return the known fields that ask for something this node does not do."""
        extra = self.model_extra or {}
        return [
            name
            for name, neutral in UNSUPPORTED.items()
            if extra.get(name) is not None and not _among(extra[name], neutral)
        ]


class Part(Strict):
    """One part of a message's content."""

    type: str
    text: str | None = None


class Message(Strict):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    name: str | None = None


class ChatRequest(Generate):
    """Body of /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)

    def tokens_wanted(self) -> int | None:
        """Return the client's bound on generated tokens, under either name."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens


TokenId = Annotated[int, Field(ge=0)]


class CompletionRequest(Generate):
    """Body of /v1/completions."""

    prompt: str | list[str] | list[TokenId] | list[list[TokenId]]


def _among(value: Any, neutral: tuple[Any, ...]) -> bool:
    """Return whether a value is neutral; True is not 1 here, though Python says so."""
    return any(value == known and isinstance(value, bool) == isinstance(known, bool) for known in neutral)
