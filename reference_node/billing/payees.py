"""Payees of a request: the statement of its adapters, made and kept once for each set of adapters.

Rule decided here: a statement is made anew only for adapters, aliases and manifests that were not seen together
lately; it is on disk before a record names it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.attribution import WHOLE
from reference_node.billing.operations import fixed_fields
from reference_node.billing.served import Influence, ServedAdapter
from reference_node.billing.terms import Terms, data_ids, payees_by_data
from reference_node.billing.top_k import TopK, largest
from reference_node.billing.usage import label_of

REMEMBERED = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Payees:
    """Who may be paid for a request; one that was made again is another one.

    Parameters
    ----------
    adapters
        As served; kept because their manifests' identities are part of the key they are remembered by.
    hashes, label, terms
        Their content hashes, 32 bytes each, what usage names them by, and their terms.
    root
        Root of the statement, 32 bytes.
    data_id_of
        (adapter's content hash, DataNet, contributor) -> data id.
    address_of
        Data id -> address, "" for nobody.
    shown
        What operations lines say of the adapters (`operations.fixed_fields`).
    """

    adapters: tuple[ServedAdapter, ...]
    hashes: tuple[bytes, ...]
    label: str
    terms: tuple[Terms, ...]
    root: bytes
    data_id_of: dict[tuple[str, str, str], bytes]
    address_of: dict[bytes, str]
    shown: str

    def top_k(self, influence: Influence | None, k: int) -> TopK:
        """Return the `k` largest weights of an influence by data id.

        Raises
        ------
        ValueError
            If it names data that is not registered with these adapters, or weights that are no part of 10^9.
        """
        if influence is None:
            return ()
        known = self.data_id_of
        try:
            weights = {known[name]: weight for name, weight in influence.weights.items()}
        except KeyError as error:
            adapter, net, contributor = error.args[0]
            raise ValueError(
                f"influence names data of {contributor!r} in DataNet {net!r} under adapter {adapter}; no manifest "
                "of the adapters that served registers it"
            ) from error
        values = weights.values()
        if values and (set(map(type, values)) != {int} or min(values) < 0 or sum(values) > WHOLE):
            raise ValueError(
                f"influence weights {list(values)} are no whole numbers from 0 that add up to {WHOLE}"
            )
        return largest(weights, k)


class PayeeBook:
    """Payees by the adapters that served.

    Parameters
    ----------
    keep
        Puts a statement on the disk and returns its root.
    base_sha256, tokenizer_sha256
        What serves them.
    """

    def __init__(
        self, keep: Callable[[tuple[Terms, ...]], bytes], base_sha256: str, tokenizer_sha256: str
    ) -> None:
        self._keep, self._base, self._tokenizer = keep, base_sha256, tokenizer_sha256
        self._known: OrderedDict[tuple[tuple[str, str, int], ...], Payees] = OrderedDict()

    def of(self, adapters: Sequence[ServedAdapter]) -> Payees:
        """Return the payees of a request's adapters.

        Raises
        ------
        ValueError
            If a hash, an address or a share is malformed.
        """
        key = tuple([(one.sha256, one.alias, id(one.manifest)) for one in adapters])
        found = self._known.get(key)
        if found is None:
            terms = tuple(Terms.of(one) for one in adapters)
            hashes = tuple(bytes.fromhex(one.sha256) for one in terms)
            found = Payees(
                tuple(adapters),
                hashes,
                label_of(hashes),
                terms,
                self._keep(terms),
                data_ids(adapters, terms),
                payees_by_data(terms),
                fixed_fields(self._base, self._tokenizer, adapters),
            )
            self._known[key] = found
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return found
