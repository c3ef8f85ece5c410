"""Attributor: from prompt and answer of one adapter to the weights that its record takes.

Rules decided here. Tier 1 looks at every answer; where the bundle holds a bank, tier 2 looks at those that the request
id samples, and its weights are the ones that are recorded then. The choices are those of one configuration, which is
also the one that the bench measures. Weights are of contributors as the manifest names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from models.errors import InputError
from reference_node.attribution.bundle import Bundle
from reference_node.attribution.coalition_bank import CoalitionBank
from reference_node.attribution.configuration import Configuration
from reference_node.attribution.corpus import Corpus, make_corpus
from reference_node.attribution.likelihood import Text
from reference_node.attribution.method import Method
from reference_node.attribution.pipeline_money import MoneyPipeline, MoneyWeights
from reference_node.attribution.planted import planted_documents
from reference_node.attribution.sampled import is_sampled
from reference_node.attribution.spans import SpanIndex
from reference_node.attribution.tier1 import Tier1
from reference_node.billing.served import Influence
from reference_node.model import Llama

VERSION = "v1"


@dataclass(frozen=True, slots=True)
class Attributed:
    """What an answer rests on.

    Parameters
    ----------
    influence
        As the record takes it.
    weights
        Of documents and contributors.
    method
        Name of the tier that looked.
    """

    influence: Influence
    weights: MoneyWeights
    method: str


class Attributor:
    """Attributes answers of one adapter.

    Parameters
    ----------
    model
        Base weights, float32.
    bundle
        The adapter's.
    configuration
        What attribution does.
    """

    def __init__(self, model: Llama, bundle: Bundle, configuration: Configuration | None = None) -> None:
        made = configuration or Configuration()
        self.model, self.bundle = model, bundle
        self.configuration = replace(
            made, recipe=bundle.recipe, bank=replace(made.bank, states=bundle.bank or 4)
        )
        planted = planted_documents(
            bundle.documents, model.config.vocab_size, count=made.planted, seed=made.planted_seed
        )
        self.corpus: Corpus = make_corpus(bundle.documents, planted, made.policy.likeness)
        self.money = MoneyPipeline(self.corpus.documents, made.policy, clusters=self.corpus.clusters)
        self.index: SpanIndex | None = bundle.index()
        places = ((holder, *holder.split("/", 1)) for holder in self.corpus.holders)
        self._rules: dict[str, str] = {}
        self.place_of = {holder: (bundle.adapter_sha256, net, one) for holder, net, one in places}

    @cached_property
    def tier1(self) -> Tier1:
        """Tier 1; gradients of documents are computed when it is first asked for and they are not kept."""
        used = self.configuration
        return Tier1(self.model, used.recipe, self.corpus, self.index, self.bundle.cache, used.tier1_window)

    @cached_property
    def bank(self) -> CoalitionBank | None:
        """Tier 2, None where the bundle holds no bank."""
        used = self.configuration
        if not self.bundle.bank:
            return None
        cache = self.bundle.cache
        return CoalitionBank(
            self.model, self.corpus, used.recipe, used.bank, self.tier1, cache, window=used.window
        )

    def warm(self) -> None:
        """Compute or read everything that answers wait for otherwise."""
        _ = self.tier1
        if self.bank is not None:
            _ = self.bank.adapters

    def method_of(self, request_id: str) -> Method:
        """Return the tier that looks at an answer."""
        sampled = is_sampled(request_id, self.configuration.sampled_per_million)
        return self.bank if sampled and self.bank is not None else self.tier1

    def attribute(self, request_id: str, prompt: Sequence[int], completion: Sequence[int]) -> Attributed:
        """Return what an answer rests on.

        Parameters
        ----------
        request_id
            32 hexadecimal digits.
        prompt, completion
            Token ids.

        Raises
        ------
        InputError
            If prompt or answer is empty, or a gradient is not finite.
        """
        return self.by(self.method_of(request_id), text_of(prompt, completion))

    def by(self, method: Method, answer: Text) -> Attributed:
        """Return what an answer rests on, by one of the methods of this corpus."""
        weights = self.money.weights(method.scores([answer]))
        influence = weights.influence(0, f"{method.name}.{VERSION}", self._params(method), self.place_of)
        return Attributed(influence, weights, method.name)

    def _params(self, method: Method) -> str:
        """Return a method's rules, which are the same for every answer."""
        if method.name not in self._rules:
            self._rules[method.name] = self.configuration.policy.params(**method.params)
        return self._rules[method.name]


def text_of(prompt: Sequence[int], completion: Sequence[int]) -> Text:
    """Return prompt and answer as a text whose answer counts.

    Raises
    ------
    InputError
        If one of them is empty.
    """
    if not len(prompt) or not len(completion):
        raise InputError(
            f"{len(prompt)} prompt and {len(completion)} answer tokens; attribution needs one of each at least"
        )
    return Text(tuple(int(t) for t in np.concatenate([prompt, completion])), len(prompt))
