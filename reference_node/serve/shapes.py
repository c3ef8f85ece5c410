"""How an answer looks on the wire: chat and plain completions, whole or in chunks.

Rules: the first chunk of a chat carries the role, the last chunk with content carries `finish_reason` and the bill, and
with `include_usage` one more chunk has the usage and no choices. Whole answers and chunks say base and adapters alike.
"""

from __future__ import annotations

from typing import Any, ClassVar

from reference_node.billing import Bill
from reference_node.serve.ticket import Ticket


class Shape:
    """Bodies of one answer.

    Parameters
    ----------
    ticket
        The request that is answered.
    with_ids
        Whether each choice says its token ids beside its text.
    """

    whole_object: ClassVar[str]
    chunk_object: ClassVar[str]
    prefix: ClassVar[str]

    def __init__(self, ticket: Ticket, *, with_ids: bool = False) -> None:
        self.ticket = ticket
        self._with_ids, self._said = with_ids, 0
        self._head = {
            "id": f"{self.prefix}-{ticket.job.id}",
            "created": ticket.created_ms // 1000,
            "model": ticket.model,
            "system_fingerprint": ticket.fingerprint,
        }

    def headers(self) -> dict[str, str]:
        """Return the headers that prove what serves the request."""
        return {
            "x-request-id": self.ticket.job.id,
            "x-olsim-adapter": ", ".join(self.ticket.named) or "base",
            "x-olsim-base": self.ticket.base_sha256,
        }

    def whole(self, text: str, bill: Bill) -> dict[str, Any]:
        """Return the body of an answer that is not streamed."""
        return {
            **self._head,
            "object": self.whole_object,
            "choices": [self._choice({**self._content(text), **self._new_ids()}, self.ticket.finish)],
            "usage": self.ticket.usage(),
            "bill": _note(bill),
        }

    def opening(self) -> list[dict[str, Any]]:
        """Return the chunks that come before any text."""
        return []

    def chunk(self, text: str) -> dict[str, Any]:
        """Return a chunk of text."""
        return self._chunk([self._choice({**self._delta(text), **self._new_ids()}, None)])

    def last(self, text: str, bill: Bill) -> dict[str, Any]:
        """Return the last chunk with content."""
        choice = self._choice({**self._delta(text), **self._new_ids()}, self.ticket.finish)
        return {**self._chunk([choice]), "bill": _note(bill)}

    def closing(self, bill: Bill) -> dict[str, Any]:
        """Return the chunk that says the usage."""
        return {**self._chunk([]), "usage": self.ticket.usage(), "bill": _note(bill)}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._head, "object": self.chunk_object, "choices": choices}

    def _choice(self, content: dict[str, Any], finish: str | None) -> dict[str, Any]:
        return {"index": 0, **content, "logprobs": None, "finish_reason": finish}

    def _new_ids(self) -> dict[str, Any]:
        """Return the token ids since the last chunk, for who asked."""
        if not self._with_ids:
            return {}
        ids = self.ticket.tokens[self._said :]
        self._said += len(ids)
        return {"token_ids": ids}

    def _content(self, text: str) -> dict[str, Any]:
        raise NotImplementedError

    def _delta(self, text: str) -> dict[str, Any]:
        raise NotImplementedError


class ChatShape(Shape):
    """Answers of /v1/chat/completions."""

    whole_object, chunk_object, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl"

    def opening(self) -> list[dict[str, Any]]:
        """Return the chunk with the role."""
        return [self._chunk([self._choice({"delta": {"role": "assistant", "content": ""}}, None)])]

    def _content(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text, "refusal": None}}

    def _delta(self, text: str) -> dict[str, Any]:
        return {"delta": {"content": text} if text else {}}


class TextShape(Shape):
    """Answers of /v1/completions."""

    whole_object, chunk_object, prefix = "text_completion", "text_completion", "cmpl"

    def _content(self, text: str) -> dict[str, Any]:
        return {"text": text}

    def _delta(self, text: str) -> dict[str, Any]:
        return {"text": text}


def _note(bill: Bill) -> dict[str, Any]:
    return {"fee_gwei": bill.fee_gwei, "request_id": bill.request_id}
