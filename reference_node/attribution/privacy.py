"""Privacy: what of restricted DataNets may be indexed, named and published.

Rules decided here. Documents enter the plain span index only if their DataNet is in the adapter's manifest, their
contributor in the DataNet, and the DataNet open; a restricted one is refused by name, or left out where that is asked
for. Its documents are known outside by salted hashes. Weights are published as an epoch's means, with calibrated noise
where the policy says so; noise moves shares between payees and never changes what is paid in all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.apportion import apportion
from models.attribution import WHOLE
from models.errors import InputError, Problem
from models.share_noise import noise_scale, noisy_weights
from reference_node.attribution.policy import Noise
from reference_node.attribution.spans_corpus import SpanDocument
from reference_node.manifest import AdapterManifest, DataNetShare
from reference_node.restriction import Restriction

Ints = NDArray[np.int64]

DATA_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Given:
    """A document as a contributor gave it to a DataNet; its owner is the contributor."""

    datanet: str
    document: SpanDocument


def plain_documents(
    manifest: AdapterManifest, given: Iterable[Given], *, leave_out_restricted: bool = False
) -> Iterator[SpanDocument]:
    """Yield the documents that may enter the plain span index.

    Parameters
    ----------
    manifest
        Of the adapter that was trained on them.
    given
        Documents with their DataNets.
    leave_out_restricted
        Whether documents of restricted DataNets are passed over instead of refused.

    Raises
    ------
    InputError
        Naming the first document that nobody registered, or that is of a restricted DataNet.
    """
    nets = {net.id: net for net in manifest.datanets}
    holders = {net.id: {one.id for one in net.contributors} for net in manifest.datanets}
    for one in given:
        where = f"document {one.document.id!r} of {one.document.owner!r}"
        if one.datanet not in nets:
            message = f"DataNet {one.datanet!r} is none of the manifest's: {', '.join(sorted(nets)) or 'it has none'}"
            raise InputError([Problem(message, "datanet", where)])
        if one.document.owner not in holders[one.datanet]:
            message = (
                f"no contributor of DataNet {one.datanet!r} has that name: the document is not registered"
            )
            raise InputError([Problem(message, "owner", where)])
        if nets[one.datanet].restricted is None:
            yield one.document
        elif not leave_out_restricted:
            kind = _kind(nets[one.datanet])
            message = f"DataNet {one.datanet!r} is restricted ({kind}): it never enters a plain index"
            raise InputError([Problem(message, "datanet", where)])


def data_id(document: bytes, restriction: Restriction | None) -> bytes:
    """Return what a document is called outside its DataNet, 16 bytes.

    Parameters
    ----------
    document
        Its content hash, 32 bytes.
    restriction
        Of its DataNet, None where it is open. With one the id is a keyed hash: the tokens of a short document could
        be guessed from a plain one.
    """
    if restriction is None:
        return document[:DATA_ID_BYTES]
    key = bytes.fromhex(restriction.salt)
    return hashlib.blake2b(document, digest_size=DATA_ID_BYTES, key=key, person=b"olsim data id").digest()


def published_weights(
    weights: Ints, noise: Noise | None, generator: np.random.Generator | None = None
) -> Ints:
    """Return the weights that are published for an epoch: the mean of its requests', with noise if the policy has it.

    Parameters
    ----------
    weights
        int64 `(requests, payees)`, residual among them: rows sum to 10^9.
    noise
        Of the policy.
    generator
        Draws of the noise; only needed with noise, and never one that somebody else knows.

    Returns
    -------
    numpy.ndarray
        int64 `(payees,)` with a sum of 10^9, so that the whole pot is paid by them.

    Raises
    ------
    InputError
        If there is no request, a row has another sum, or there is noise without a generator.
    """
    if not len(weights) or (weights.sum(axis=1) != WHOLE).any():
        raise InputError(f"published weights need at least one request, and rows that sum to {WHOLE}")
    mean = apportion(WHOLE, weights.sum(axis=0)[None, :])[0]
    if noise is None:
        return mean
    if generator is None:
        raise InputError("noise needs a generator whose draws nobody else knows")
    scale = noise_scale(noise.epsilon, len(weights))
    return noisy_weights(mean, scale, generator.random((2, mean.size)), keep_nulls=noise.keep_nulls)


def _kind(net: DataNetShare) -> str:
    return net.restricted.kind if net.restricted else "open"
