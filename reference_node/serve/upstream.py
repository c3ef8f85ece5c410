"""Another server as a backend: an existing vLLM, LoRAX or node generates, this node resolves, meters, logs and bills.

Rules: an adapter's name upstream is its content hash, so a reload can never serve another version under a name that is
in use. Prompts go as token ids of this node's tokenizer, so what is billed is what was sent. Token ids of the answer
are the upstream's where it says them; else its text is tokenised again, piece by piece. An upstream that says it served
another base or adapter than it was asked for fails the request.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2

from models.errors import InputError
from reference_node.serve.backend import BusyError, DeadError, End, Job, Piece, UpstreamError
from reference_node.serve.upstream_adapters import AdapterStyle, detect_style
from reference_node.tokenizer import TextCodec

logger = logging.getLogger(__name__)
LOOK_S = 5.0  # between two looks at the upstream's health
CONNECT_S = 5.0
FINISH: dict[str, End] = {"stop": "stop", "length": "length"}


class UpstreamBackend:
    """An OpenAI-compatible server that generates.

    Parameters
    ----------
    url, key
        Where it is, without `/v1`, and its API key ("" for none).
    codec
        Tokenizer of the base that it serves.
    base_sha256
        What it is expected to serve.
    length_max
        Longest request; lowered to what the upstream says of its model.
    transport
        Stands in for the network in tests.
    """

    remote = True

    def __init__(
        self,
        url: str,
        key: str,
        codec: TextCodec,
        base_sha256: str,
        length_max: int,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.length_max, self.description = length_max, f"upstream {url}"
        self._url, self._key, self._codec, self._base = url.rstrip("/"), key, codec, base_sha256
        self._transport = transport
        self._failure = "the upstream was not reached yet"
        self._model = ""
        self._folders: dict[str, Path] = {}
        self._loading: dict[str, asyncio.Lock] = {}

    async def start(self) -> None:
        """Find out what the upstream serves, and keep an eye on it."""
        headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
        timeout = httpx2.Timeout(None, connect=CONNECT_S, pool=None)
        limits = httpx2.Limits(max_connections=None)
        self._http = httpx2.AsyncClient(
            base_url=self._url, headers=headers, timeout=timeout, limits=limits, transport=self._transport
        )
        self._style: AdapterStyle | None = None
        await self._look()
        self._watch = asyncio.create_task(self._keep_looking())

    async def stop(self) -> None:
        """Close the connections."""
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)
        await self._http.aclose()

    def failure(self) -> str:
        """Return why the upstream can not be used now; empty while it can."""
        return self._failure

    async def submit(self, job: Job) -> UpstreamPieces:
        """Send a job and return the answer that has begun.

        Raises
        ------
        BusyError, DeadError, InputError
            When the upstream does not accept it.
        """
        if len(job.adapters) > 1 or any(use.weight != 1.0 for use in job.adapters):
            raise InputError(
                "an upstream serves one adapter at weight 1; ensembles need the node's own engine"
            )
        sha256 = job.adapters[0].sha256 if job.adapters else ""
        response = await self._open(job, sha256)
        if response.status_code == 404 and sha256 in self._folders:  # it was restarted and has forgotten
            await response.aclose()
            await self.register(sha256, self._folders.pop(sha256))
            response = await self._open(job, sha256)
        if response.status_code != 200:
            raise await _refusal(response)
        _check_served(response, self._base, sha256)
        return UpstreamPieces(response, job, self._codec)

    async def register(self, sha256: str, folder: Path) -> None:
        """Have the upstream load an adapter under its hash.

        Raises
        ------
        InputError
            When the upstream refuses it.
        """
        async with self._loading.setdefault(sha256, asyncio.Lock()):
            if sha256 in self._folders:
                return
            if self._style is None:
                raise DeadError(self._failure)
            try:
                await self._style.load(self._http, sha256, folder)
            except httpx2.TransportError as error:
                raise self._lost(error) from error
            self._folders[sha256] = folder

    async def forget(self, sha256: str) -> None:
        """Have the upstream drop an adapter."""
        self._loading.pop(sha256, None)
        if self._folders.pop(sha256, None) is not None and self._style is not None:
            try:
                await self._style.unload(self._http, sha256)
            except httpx2.TransportError as error:
                logger.warning("the upstream still holds adapter %s: %s", sha256[:12], error)

    async def _open(self, job: Job, sha256: str) -> httpx2.Response:
        if self._style is None:
            raise DeadError(self._failure)
        model = self._style.model_name(sha256, self._folders[sha256]) if sha256 else self._model
        request = self._http.build_request("POST", "/v1/completions", json=_body(job, model))
        try:
            return await self._http.send(request, stream=True)
        except httpx2.TransportError as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> DeadError:
        self._failure = f"the upstream cannot be reached: {type(error).__name__}: {error}"
        return DeadError(self._failure)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self._look()

    async def _look(self) -> None:
        """Ask the upstream for its models; the first that has no parent is the base."""
        try:
            answer = await self._http.get("/v1/models", timeout=CONNECT_S)
            answer.raise_for_status()
            card = next(card for card in answer.json()["data"] if not card.get("parent"))
            if self._style is None:
                self._style = await detect_style(self._http)
        except (httpx2.HTTPError, ValueError, KeyError, StopIteration) as error:
            self._lost(error)
            return
        self._model = str(card["id"])
        if isinstance(card.get("max_model_len"), int):
            self.length_max = min(self.length_max, card["max_model_len"])
        self._failure = ""


class UpstreamPieces:
    """A stream of the upstream as pieces."""

    def __init__(self, response: httpx2.Response, job: Job, codec: TextCodec) -> None:
        self._response, self._codec = response, codec
        self._events = _events(response)
        self._clock = asyncio.get_running_loop().time
        self._started, self._until = False, self._clock() + job.wall_s
        self._first_until = min(self._until, self._clock() + job.queue_wait_s)
        self._finish: End = ""
        self._cached = 0
        self._closing: asyncio.Task[None] | None = None

    async def next(self) -> Piece:
        """Return the next piece."""
        try:
            async with asyncio.timeout_at(self._until if self._started else self._first_until):
                return await self._read()
        except TimeoutError:
            return Piece(end="wall_time" if self._started else "queue_wait")
        except (httpx2.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
            return Piece(
                end="error", error=f"the upstream's answer broke off: {type(error).__name__}: {error}"
            )

    def close(self) -> None:
        """Close the connection, which cancels the request upstream."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._response.aclose())

    async def _read(self) -> Piece:
        async for event in self._events:
            if "error" in event:
                raise ValueError(event["error"].get("message", "error"))
            usage = event.get("usage") or {}
            self._cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or self._cached
            choices = event.get("choices") or []
            if not choices:
                continue
            reason = choices[0].get("finish_reason")
            if reason:
                self._finish = FINISH.get(reason, "error")
            piece = self._piece(choices[0].get("text") or "", choices[0].get("token_ids"))
            if piece.tokens:
                self._started = True
                return piece
        if self._finish in ("", "error"):
            raise ValueError(f"no finish reason that is known ({self._finish or 'none'})")
        return Piece(end=self._finish, cached_tokens=self._cached)

    def _piece(self, text: str, ids: list[int] | None) -> Piece:
        tokens = tuple(ids if ids is not None else self._codec.encode(text))
        texts = ("",) * (len(tokens) - 1) + (text,) if tokens else ()
        return Piece(texts, tokens, cached_tokens=self._cached)


def _body(job: Job, model: str) -> dict[str, Any]:
    """Return the request as vLLM and this node understand it."""
    return {
        "model": model,
        "prompt": list(job.prompt),
        "max_tokens": job.max_new_tokens,
        "temperature": job.sampling.temperature,
        "top_p": job.sampling.top_p,
        "seed": job.sampling.seed,
        "ignore_eos": not job.stop_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_token_ids": True,
    }


async def _events(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    """Yield the events of a stream; one that ends without `[DONE]` was cut."""
    async for line in response.aiter_lines():
        if line == "data: [DONE]":
            return
        if line.startswith("data:"):
            yield json.loads(line[5:])
    raise ValueError("the stream ended without [DONE]")


def _check_served(response: httpx2.Response, base: str, sha256: str) -> None:
    """Refuse an upstream that says it serves something else; most say nothing."""
    for header, asked in (("x-olsim-base", base), ("x-olsim-adapter", sha256 or "base")):
        served = response.headers.get(header, asked)
        if served != asked:
            raise UpstreamError(f"the upstream served {header} {served[:80]}, and was asked for {asked}")


async def _refusal(response: httpx2.Response) -> Exception:
    await response.aread()
    try:
        body = response.json()
        message = str((body.get("error") or body).get("message"))
    except (ValueError, AttributeError):
        message = response.text[:200]
    status = response.status_code
    if status in (429, 503):
        return BusyError(f"the upstream is full: {message}")
    if status in (400, 404, 422):
        return InputError(f"the upstream refuses the request: {message}")
    return UpstreamError(f"the upstream answered {status}: {message}")
