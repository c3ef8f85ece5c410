"""Chat and completions: one path from a body to an answer, whole or streamed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from reference_node.serve.admission import COMPLETION_DEFAULT, admit, precheck
from reference_node.serve.answers import ChatCompletion, TextCompletion
from reference_node.serve.auth import InferenceKey, NodeOf
from reference_node.serve.errors import ApiError, statuses
from reference_node.serve.generation import Generation
from reference_node.serve.node import Node
from reference_node.serve.prompts import chat_prompt, text_prompt
from reference_node.serve.routes.checked import CheckedRoute
from reference_node.serve.schemas import ChatRequest, CompletionRequest, Generate
from reference_node.serve.shapes import ChatShape, Shape, TextShape
from reference_node.serve.stream import DONE, ClientGoneError, EventStream, event, unless_gone

router = APIRouter(tags=["inference"], route_class=CheckedRoute)
ERRORS = statuses(400, 401, 403, 404, 413, 429, 500, 502, 503)
EVENT = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
STREAM = {"text/event-stream": {"itemSchema": EVENT}}
CLOSED = 499  # what a server writes down for a reader that hung up; nobody receives it


@router.post("/v1/chat/completions", responses={200: {"model": ChatCompletion, "content": STREAM}, **ERRORS})
async def chat(body: ChatRequest, request: Request, node: NodeOf, key: InferenceKey) -> Response:
    """Answer a conversation."""

    async def begin() -> Generation:
        precheck(node, body)
        ticket = await admit(node, key, body, await chat_prompt(node, body), default_tokens=None)
        return await Generation.begin(node, ticket)

    return await _answer(node, body, request, begin, ChatShape)


@router.post("/v1/completions", responses={200: {"model": TextCompletion, "content": STREAM}, **ERRORS})
async def complete(body: CompletionRequest, request: Request, node: NodeOf, key: InferenceKey) -> Response:
    """Continue a text."""

    async def begin() -> Generation:
        precheck(node, body)
        prompt = await text_prompt(node, body)
        ticket = await admit(node, key, body, prompt, default_tokens=COMPLETION_DEFAULT)
        return await Generation.begin(node, ticket)

    return await _answer(node, body, request, begin, TextShape)


async def _answer(
    node: Node,
    body: Generate,
    request: Request,
    begin: Callable[[], Awaitable[Generation]],
    shape_of: type[Shape],
) -> Response:
    try:
        generation = await unless_gone(begin(), request.receive)
        shape = shape_of(generation.ticket, with_ids=bool(body.return_token_ids))
        if body.stream:
            usage = body.stream_options is not None and bool(body.stream_options.include_usage)
            return EventStream(_events(generation, shape, usage), shape.headers(), send_s=node.limits.send_s)
        document = await unless_gone(_whole(generation, shape), request.receive)
    except ClientGoneError:
        return Response(status_code=CLOSED)
    return JSONResponse(document, headers=shape.headers())


async def _whole(generation: Generation, shape: Shape) -> dict[str, object]:
    """Return the whole answer."""
    try:
        texts = [generation.first]
        while not generation.ended:
            texts.append(await generation.more())
        return shape.whole("".join(texts), await generation.finish())
    finally:
        generation.abandon()


async def _events(generation: Generation, shape: Shape, usage: bool) -> AsyncGenerator[bytes, None]:
    """Yield the answer as events; a failure is the last event."""
    try:
        for document in shape.opening():
            yield event(document)
        text = generation.first
        while not generation.ended:
            if text:
                yield event(shape.chunk(text))
            text = await generation.more()
        bill = await generation.finish()
        yield event(shape.last(text, bill))
        if usage:
            yield event(shape.closing(bill))
        yield DONE
    except ApiError as error:
        yield event(error.body())
    finally:
        generation.abandon()
