"""`olsim node chat`: talk to a node from the terminal.

Rule: standard output carries the answer alone, as it is generated; which adapter served it, its tokens and its
bill go to standard error. With a prompt on the command line it answers once; without one it goes on until the
input ends.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import InputError
from reference_node.commands import need_packages

if TYPE_CHECKING:
    from reference_node.client import Answer, Stream

DEFAULT_URL = "http://127.0.0.1:8000"
Url = Annotated[str, typer.Option(help="Where the node listens.")]
Key = Annotated[str | None, typer.Option(envvar="OLSIM_NODE_KEY", help="API key, if the node wants one.")]
_HINTS = {
    0: "; start one with `olsim node serve`, or say --url",
    401: "; say --key or set OLSIM_NODE_KEY",
}


def chat(
    prompt: Annotated[str | None, typer.Argument(help="Ask once; without it, a conversation.")] = None,
    model: Annotated[str, typer.Option(help="base, an adapter's alias, or alias@sha256:PREFIX.")] = "base",
    url: Url = DEFAULT_URL,
    key: Key = None,
    system: Annotated[str | None, typer.Option(help="System message.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1)] = 128,
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0)] = 0.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, not a stream.")] = False,
) -> None:
    """Talk to a node: stream answers of the base model or of any adapter, with the hash that served them."""
    need_packages("httpx2")
    from reference_node.client import NodeClient

    if as_json and prompt is None:
        raise InputError("olsim node chat: --json needs a prompt on the command line")
    settings = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    history = [] if system is None else [{"role": "system", "content": system}]
    with refusals(), NodeClient(url, key) as node:
        for text in _lines() if prompt is None else [prompt]:
            history.append({"role": "user", "content": text})
            if as_json:
                answer = node.chat(model, history, **settings)
                sys.stdout.write(json.dumps(asdict(answer)) + "\n")
            else:
                answer = _show(node.stream_chat(model, history, **settings))
            history.append({"role": "assistant", "content": answer.text})


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what a node refuses into bad input, with what to do about it."""
    from reference_node.client import NodeError

    try:
        yield
    except NodeError as error:
        raise InputError(f"{error}{_HINTS.get(error.status, '')}") from error


def _show(stream: Stream) -> Answer:
    """Write the pieces as they come."""
    for piece in stream:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    sys.stdout.flush()
    sys.stderr.write(_served(stream.answer))
    return stream.answer


def _lines() -> Iterable[str]:
    """Yield what the user types, until the input ends."""
    typed = sys.stdin.isatty()
    while True:
        if typed:
            sys.stderr.write("> ")
            sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def _served(answer: Answer) -> str:
    by = ", ".join(sha[:12] for sha in answer.adapters) or "the base model"
    fee = "" if answer.fee_gwei is None else f", {answer.fee_gwei:,} gwei"
    return f"[{by}; {answer.prompt_tokens} + {answer.completion_tokens} tokens{fee}]\n"
