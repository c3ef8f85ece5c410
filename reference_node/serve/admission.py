"""From a body to an admitted request: everything is checked and resolved before anything runs.

Rules: names become content hashes here and nowhere later; all that could make a request unservable is refused with the
field's name; what it may use at most is set aside from the key's quota.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from models.errors import InputError
from reference_node.access import ApiKey, QuotaExceeded
from reference_node.access.quotas import Reservation
from reference_node.billing import ServedAdapter
from reference_node.registry import Resolved, UnknownModelError, Version
from reference_node.registry.index import BASE
from reference_node.request import AdapterUse, Sampling
from reference_node.serve.backend import DeadError, Job, UpstreamError
from reference_node.serve.errors import ApiError, bad_request
from reference_node.serve.node import Node
from reference_node.serve.schemas import Generate
from reference_node.serve.stops import StopMatcher
from reference_node.serve.ticket import Ticket

COMPLETION_DEFAULT = 16  # tokens of /v1/completions without max_tokens, as OpenAI documents it


def precheck(node: Node, body: Generate) -> None:
    """Refuse what needs no look at the prompt; who can never be served hears so before who comes too early.

    Raises
    ------
    ApiError
        503, 400, 404 or 429, whichever applies first.
    """
    node.check_serving()
    check_fields(body)
    for index, choice in enumerate(body.adapters or ()):
        _named(node.registry.resolve, choice.model, f"adapters.{index}.model")
    _named(node.registry.resolve, body.model, "model")
    node.check_room()


async def admit(
    node: Node, key: ApiKey, body: Generate, prompt: Sequence[int], *, default_tokens: int | None
) -> Ticket:
    """Return the ticket of a request.

    Parameters
    ----------
    node, key, body
        Who is asked, by whom, for what.
    prompt
        Token ids.
    default_tokens
        Tokens to generate when the body does not say; None for as many as fit.

    Raises
    ------
    ApiError
        400, 404, 429, 502 or 503, whichever applies first after `precheck`.
    """
    max_new = _max_new_tokens(node, body, len(prompt), default_tokens)
    held: list[str] = []
    try:
        adapters = _hold(node, body, held)
        for adapter in adapters:
            await _make_known(node, adapter)
        node.check_serving()  # again: others came while adapters were read
        node.check_room()
        reservation = _reserve(node, key, len(prompt) + max_new)
    except BaseException:
        node.let_go(held)
        raise
    job = Job(
        id=secrets.token_hex(16),
        prompt=tuple(prompt),
        max_new_tokens=max_new,
        adapters=tuple(AdapterUse(adapter.sha256, adapter.weight) for adapter in adapters),
        sampling=_sampling(body),
        stop_tokens=frozenset() if body.ignore_eos else frozenset(node.codec.eos_ids),
        tenant=key.tenant,
        queue_wait_s=node.limits.queue_wait_s,
        wall_s=node.limits.wall_s,
    )
    stops = StopMatcher(body.stops())
    return Ticket(job, key, reservation, body.model, adapters, stops, node.base_sha256)


def check_fields(body: Generate) -> None:
    """Refuse known fields that this node does not serve, and fields that contradict each other.

    Raises
    ------
    ApiError
        400 naming the field.
    """
    fields = body.unsupported()
    if fields:
        values = ", ".join(f"{name}={_short(body.model_extra[name])}" for name in fields if body.model_extra)
        raise bad_request(f"not supported by this node: {values}", fields[0], "unsupported_parameter")
    if body.stream_options is not None and not body.stream:
        raise bad_request(
            "stream_options is allowed only with stream=true", "stream_options", "invalid_value"
        )
    if body.adapters is not None and body.model != BASE:
        message = f"model is {body.model!r}; with adapters it must be {BASE!r}, the model that they change"
        raise bad_request(message, "adapters", "invalid_value")


def _hold(node: Node, body: Generate, held: list[str]) -> tuple[ServedAdapter, ...]:
    """Resolve and hold every adapter that the request names; `held` says which, also on failure."""
    if body.adapters is None:
        found = _find(node, body.model, "model", held)
        return () if found.version is None else (_served(1.0, found.version),)
    if len(body.adapters) > node.limits.ensemble:
        message = f"{len(body.adapters)} adapters; allowed {node.limits.ensemble}"
        raise bad_request(message, "adapters", "invalid_value")
    adapters = []
    for index, choice in enumerate(body.adapters):
        version = _find(node, choice.model, f"adapters.{index}.model", held).version
        if version is None:
            raise bad_request(f"{BASE!r} is no adapter", f"adapters.{index}.model", "invalid_value")
        adapters.append(_served(choice.weight, version))
    if len({adapter.sha256 for adapter in adapters}) < len(adapters):
        message = "two entries mean the same adapter version; add their weights instead"
        raise bad_request(message, "adapters", "invalid_value")
    return tuple(adapters)


def _find(node: Node, model: str, param: str, held: list[str]) -> Resolved:
    found = _named(node.hold, model, param)
    if found.sha256 is not None:
        held.append(found.sha256)
    return found


def _named(look_up: Callable[[str], Resolved], model: str, param: str) -> Resolved:
    try:
        return look_up(model)
    except UnknownModelError as error:
        raise ApiError(404, str(error), code="model_not_found", param=param) from error


async def _make_known(node: Node, adapter: ServedAdapter) -> None:
    try:
        await node.backend.register(adapter.sha256, node.registry.folder(adapter.sha256))
    except InputError as error:
        message = f"{adapter.alias} cannot be served: {error}"
        raise ApiError(404, message, code="model_not_found", param="model") from error
    except UpstreamError as error:
        raise ApiError(502, str(error), code="upstream_failed") from error
    except DeadError as error:
        raise ApiError(503, str(error), code="engine_dead", retry_after_s=30) from error


def _served(weight: float, version: Version) -> ServedAdapter:
    return ServedAdapter(version.sha256, version.alias, version.number, weight, version.manifest)


def _max_new_tokens(node: Node, body: Generate, prompt: int, default: int | None) -> int:
    """Return how many tokens may be generated, within the node's limits and the model's context."""
    limits, context = node.limits, node.backend.length_max
    if prompt < 1:
        raise bad_request("the prompt is empty; at least one token is needed", "prompt", "invalid_value")
    if prompt > min(limits.prompt_tokens, context - 1):
        message = f"the prompt has {prompt} tokens; allowed {min(limits.prompt_tokens, context - 1)}"
        raise bad_request(message, "prompt", "context_length_exceeded")
    wanted, most = body.tokens_wanted(), min(limits.max_tokens, context - prompt)
    if wanted is None:
        return min(most, default or most)
    if wanted > most:
        message = (
            f"max_tokens is {wanted}; allowed 1 to {most} "
            f"(limit {limits.max_tokens}, context {context}, prompt {prompt})"
        )
        code = "context_length_exceeded" if wanted > context - prompt else "invalid_value"
        raise bad_request(message, "max_tokens", code)
    return wanted


def _sampling(body: Generate) -> Sampling:
    """Return the sampling; without a seed one is drawn, so the log can always replay the request."""
    temperature = 1.0 if body.temperature is None else body.temperature
    seed = secrets.randbits(63) if body.seed is None else body.seed
    return Sampling(
        temperature=temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        seed=seed if temperature > 0 else 0,
    )


def _reserve(node: Node, key: ApiKey, tokens: int) -> Reservation:
    try:
        return node.quotas.admit(key, tokens)
    except QuotaExceeded as error:
        raise ApiError(
            429, error.message, code=f"quota_{error.limit}", retry_after_s=error.retry_after_s
        ) from error


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
