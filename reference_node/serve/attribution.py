"""Attribution of a running node: who made each answer, found after its last token and before its record.

Rules. One thread of its own looks at one answer at a time, so that decoding goes on beside it; an answer's record waits
for it, its text does not. Attributed are answers of exactly one adapter whose bundle the node has and whose manifest
names everybody in it; every other answer is paid by the manifest's shares. A failure is counted and logged and costs
nobody an answer. Prompt and answer are kept for the newest requests alone, in memory, for whoever asked to look at.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from models.attribution import WHOLE
from reference_node.attribution.attributor import Attributed, Attributor, text_of
from reference_node.attribution.explain import explain
from reference_node.billing import ServedAdapter, ServedRequest
from reference_node.billing.entries import TOP_K
from reference_node.manifest import AdapterManifest, DataNetShare
from reference_node.serve.metrics import Metrics
from reference_node.tokenizer import TextCodec

logger = logging.getLogger(__name__)
KEPT = 64


@dataclass(frozen=True, slots=True)
class Kept:
    """An attributed answer, as long as it is kept.

    Parameters
    ----------
    tenant
        Who may look at it.
    adapter
        What served it.
    prompt, completion
        Token ids.
    found
        What it rests on.
    took_ms
        Time that attribution took.
    """

    tenant: str
    adapter: ServedAdapter
    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    found: Attributed
    took_ms: float


class AttributionDesk:
    """Attributes what a node serves.

    Parameters
    ----------
    attributors
        One for each adapter.
    codec
        Tokens as text, for explanations.
    metrics
        Gets outcomes and times.
    kept
        Answers that can be looked at afterwards.
    """

    def __init__(
        self, attributors: Iterable[Attributor], codec: TextCodec, metrics: Metrics, kept: int = KEPT
    ) -> None:
        self._of = {one.bundle.adapter_sha256: one for one in attributors}
        self._codec, self._metrics, self._most = codec, metrics, kept
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="attribution")
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._covered: dict[str, AdapterManifest] = {}

    @property
    def adapters(self) -> tuple[str, ...]:
        """Content hashes of the adapters whose answers are attributed."""
        return tuple(self._of)

    def warm(self) -> None:
        """Read what answers would wait for."""
        for one in self._of.values():
            one.warm()

    def close(self) -> None:
        """End the thread; nothing may be asked any more."""
        self._thread.shutdown()

    async def look(self, served: ServedRequest) -> ServedRequest:
        """Return the request with its influence, or as it is where it cannot be attributed."""
        one = self._attributor(served)
        if one is None:
            return served
        began = time.perf_counter()
        try:
            found = await self._run(one.attribute, served.request_id, served.prompt_tokens, served.completion)
        except Exception:
            logger.exception(
                "request %s is not attributed; its manifest's shares are paid", served.request_id
            )
            self._metrics.attributed("failed", time.perf_counter() - began)
            return served
        took_s = time.perf_counter() - began
        self._metrics.attributed(found.method, took_s)
        tokens = served.prompt_tokens, served.completion
        self._keep(served.request_id, Kept(served.tenant, served.adapters[0], *tokens, found, 1000 * took_s))
        return replace(served, influence=found.influence)

    async def explanation(self, request_id: str, tenant: str) -> dict[str, Any] | None:
        """Return what is known of an answer of a tenant; None where nothing is kept.

        Parameters
        ----------
        request_id
            As in the answer's bill.
        tenant
            Who asks.
        """
        kept = self._kept.get(request_id)
        if kept is None or kept.tenant != tenant:
            return None
        document: dict[str, Any] = await self._run(self._document, request_id, kept)
        return document

    def _attributor(self, served: ServedRequest) -> Attributor | None:
        if len(served.adapters) != 1 or not served.completion or not served.prompt_tokens:
            return None
        adapter = served.adapters[0]
        one = self._of.get(adapter.sha256)
        if one is None or adapter.manifest is None:
            return None
        if self._covered.get(adapter.sha256) is not adapter.manifest:
            named = {(net.id, c.id) for net in adapter.manifest.datanets for c in net.contributors}
            missing = [place for _, *place in one.place_of.values() if tuple(place) not in named]
            if missing:
                self._metrics.attributed("not_in_manifest", 0.0)
                return None
            self._covered[adapter.sha256] = adapter.manifest
        return one

    def _keep(self, request_id: str, kept: Kept) -> None:
        self._kept[request_id] = kept
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    async def _run(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _document(self, request_id: str, kept: Kept) -> dict[str, Any]:
        """Return the explanation as the interface writes it; runs on the thread."""
        one = self._of[kept.adapter.sha256]
        found = explain(one, text_of(kept.prompt, kept.completion))
        shown = _Names(kept.adapter.manifest)
        stream, start = self._codec.stream(), len(kept.prompt)
        texts = [stream.push(token) for token in kept.completion]
        weights = [
            shown.place(net, contributor) | {"weight": weight}
            for (_, net, contributor), weight in kept.found.influence.weights.items()
        ]
        recorded = sorted(weights, key=lambda entry: -entry["weight"])[:TOP_K]
        return {
            "object": "attribution",
            "request_id": request_id,
            "adapter": kept.adapter.sha256,
            "method": kept.found.influence.method,
            "took_ms": round(kept.took_ms, 3),
            "tokens": [*texts[:-1], texts[-1] + stream.flush()],
            "weights": recorded,
            "residual": WHOLE - sum(entry["weight"] for entry in recorded),
            "methods": {
                "manifest": shown.shares(),
                **{
                    name: [shown.holder(holder) | {"share": share} for holder, share in parts.items()]
                    for name, parts in found.shares.items()
                },
            },
            "spans": [
                {
                    "start": max(span.start - start, 0),
                    "stop": span.stop - start,
                    "count": span.count,
                    "sources": [shown.holder(s.owner) | {"document": s.document} for s in span.sources],
                }
                for span in found.spans
            ],
        }


class _Names:
    """Names of DataNets and contributors as others may see them."""

    def __init__(self, manifest: AdapterManifest | None) -> None:
        self._nets: dict[str, DataNetShare] = {}
        if manifest is not None:
            self._nets = {net.id: net for net in manifest.datanets}

    def place(self, net: str, contributor: str) -> dict[str, Any]:
        """Return a contributor's entry."""
        one = self._nets[net]
        address = next(c.address for c in one.contributors if c.id == contributor)
        return {
            "datanet": one.outside("datanet", net),
            "contributor": one.outside("contributor", contributor),
            "address": address,
        }

    def holder(self, holder: str) -> dict[str, Any]:
        """Return the entry of ``datanet/contributor``."""
        return self.place(*holder.split("/", 1))

    def shares(self) -> list[dict[str, Any]]:
        """Return the manifest's own shares."""
        return [
            self.place(net.id, one.id) | {"share": net.share_bps * one.share_bps / 10**8}
            for net in self._nets.values()
            for one in net.contributors
        ]
