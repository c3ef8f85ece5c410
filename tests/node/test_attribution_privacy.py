"""Restricted DataNets: refused without consent or licence, never in the index, never named in the log."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("cbor2", reason="needs the node extra (cbor2)")

from models.attribution import payouts
from models.errors import InputError
from models.share_noise import noise_scale, noisy_weights
from reference_node.attribution.policy import Noise
from reference_node.attribution.privacy import Given, data_id, plain_documents, published_weights
from reference_node.attribution.spans import SpanDocument, SpanIndex, content_hash
from reference_node.billing.audit import audit
from reference_node.billing.served import Influence
from reference_node.billing.terms import Terms
from reference_node.manifest import (
    AdapterManifest,
    ContributorShare,
    DataNetShare,
    parse_manifest,
)
from reference_node.restriction import Restriction, blinded_id
from tests.node.billing_world import ANA, BEN, OWNER, adapter, open_log, request

pytestmark = pytest.mark.node

SALT = "5a" * 16
CLINIC = Restriction("medical", "research agreement 12", "register of consents, sheet 4", SALT)
MIXED = AdapterManifest(
    OWNER,
    (
        DataNetShare("oncology", 5_000, (ContributorShare("st-mary", ANA, 10_000),), CLINIC),
        DataNetShare("weather", 5_000, (ContributorShare("ben", BEN, 10_000),)),
    ),
)


def written(**changes: object) -> bytes:
    document = json.loads(MIXED.to_json())
    document["datanets"][0]["restricted"].update(changes)
    return json.dumps(document).encode()


def test_a_manifest_keeps_what_it_says_of_restricted_data_and_open_ones_keep_their_bytes() -> None:
    assert parse_manifest(MIXED.to_json()) == MIXED
    plain = replace(MIXED, datanets=MIXED.datanets[1:])
    assert b"restricted" not in plain.to_json()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"licence": ""}, "DataNet 'oncology' is restricted and states no licence: it may not be used"),
        ({"consent": "  "}, "DataNet 'oncology' is restricted and states no consent: it may not be used"),
        ({"consent": None}, "states no consent"),
        ({"kind": "secret"}, "allowed medical, legal, personal"),
        ({"salt": "12"}, "must be 32 to 64 lower-case hexadecimal digits"),
        ({"more": 1}, "unknown key"),
    ],
)
def test_a_restricted_datanet_without_consent_or_licence_is_refused_by_name(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        parse_manifest(written(**changes))
    with pytest.raises(InputError) as refused:
        parse_manifest(written(salt=SALT + "!"))
    assert SALT not in str(refused.value)


def given_documents() -> list[Given]:
    return [
        Given("oncology", SpanDocument("case-1", "st-mary", (1, 2, 3))),
        Given("weather", SpanDocument("rain", "ben", (4, 5, 6))),
    ]


def test_restricted_documents_never_enter_the_plain_index(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"DataNet 'oncology' is restricted \(medical\)") as refused:
        list(plain_documents(MIXED, given_documents()))
    assert refused.value.problems[0].where == "document 'case-1' of 'st-mary'"
    kept = list(plain_documents(MIXED, given_documents(), leave_out_restricted=True))
    index = SpanIndex.build(kept, tmp_path)
    assert index.ids == ("rain",)
    assert index.longest([1, 2, 3, 4]).length.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("datanet", "owner", "message"),
    [
        ("geology", "ben", "DataNet 'geology' is none of the manifest's: oncology, weather"),
        (
            "weather",
            "eve",
            "no contributor of DataNet 'weather' has that name: the document is not registered",
        ),
    ],
)
def test_unregistered_documents_are_refused_by_name(datanet: str, owner: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(plain_documents(MIXED, [Given(datanet, SpanDocument("x", owner, (1,)))]))


def test_ids_of_restricted_documents_are_keyed_hashes() -> None:
    digest = content_hash([1, 2, 3])
    assert data_id(digest, None) == digest[:16]
    blinded = data_id(digest, CLINIC)
    assert blinded == data_id(digest, CLINIC) != digest[:16]
    assert blinded != data_id(digest, replace(CLINIC, salt="5b" * 16))
    assert len(blinded) == 16


def test_no_file_of_the_log_names_a_restricted_set_or_its_contributors(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    served = adapter("1", MIXED)
    weights = {("1" * 64, "oncology", "st-mary"): 700_000_000, ("1" * 64, "weather", "ben"): 300_000_000}
    bill = log.append(request(0, served, influence=Influence("ef_base.v1", weights)))
    log.close()
    data = bill.parts["contributors"]
    assert bill.payees[ANA] + bill.payees[BEN] == data
    assert abs(bill.payees[ANA] - data * 7 // 10) <= 1
    text = b"".join(path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file())
    for secret in (b"oncology", b"st-mary", SALT.encode(), bytes.fromhex(SALT), b"research agreement"):
        assert secret not in text
    assert b"weather" in text
    assert text.count(b"blind:") >= 3  # DataNet in line and statement, contributor
    assert audit(tmp_path).records == 1


def test_a_blinded_name_can_be_opened_by_who_knows_the_salt() -> None:
    (net, _) = Terms.of(adapter("1", MIXED)).datanets
    assert net.id == blinded_id(SALT, "datanet", "oncology")
    assert net.contributors[0].id == blinded_id(SALT, "contributor", "st-mary")
    assert net.contributors[0].address == ANA  # who is paid cannot be hidden from a chain that pays


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 1000), min_size=2, max_size=9),
    st.integers(1, 50),
    st.integers(0, 10**18),
    st.booleans(),
)
def test_noise_moves_shares_and_conserves_the_pot(
    parts: list[int], requests: int, pot: int, keep: bool
) -> None:
    row = np.array(parts, np.int64)
    row[0] += 10**9 - row.sum()
    published = published_weights(
        np.tile(row, (requests, 1)), Noise(1_000_000, keep_nulls=keep), np.random.default_rng(sum(parts))
    )
    assert int(published.sum()) in (0, 10**9)
    assert published.min() >= 0
    if keep:
        assert not published[row == 0].any()
    paid, left = payouts(np.array([pot]), published[None, :])
    assert int(paid.sum() + left[0]) == pot


def test_noise_has_the_scale_that_epsilon_asks_for() -> None:
    scale = noise_scale(0.5, 10_000)
    assert scale == 400_000
    weights = np.array([500_000_000, 500_000_000])
    rng = np.random.default_rng(3)
    draws = np.array(
        [noisy_weights(weights, scale, rng.random((2, 2)), keep_nulls=True)[0] for _ in range(4000)]
    )
    # the halves' noises are independent and the sum is made whole again: half their difference
    assert draws.std() == pytest.approx(scale * np.sqrt(2) / np.sqrt(2), rel=0.08)
    assert abs(draws.mean() - 500_000_000) < 5 * scale / np.sqrt(4000)


def test_published_weights_are_means_and_need_what_they_need() -> None:
    rows = np.array([[10**9, 0], [0, 10**9], [0, 10**9]])
    assert published_weights(rows, None).tolist() == [333_333_333, 666_666_667]
    with pytest.raises(InputError, match="at least one request"):
        published_weights(rows[:0], None)
    with pytest.raises(InputError, match="rows that sum to"):
        published_weights(rows // 2, None)
    with pytest.raises(InputError, match="needs a generator"):
        published_weights(rows, Noise(1_000_000))
    with pytest.raises(ValueError, match=r"epsilon 0\.0"):
        noise_scale(0.0, 5)


def test_what_others_see_of_a_manifest_names_no_restricted_set() -> None:
    shown = MIXED.shown()
    text = json.dumps(shown)
    for secret in ("oncology", "st-mary", SALT, CLINIC.licence, CLINIC.consent):
        assert secret not in text
    assert shown["datanets"][0]["restricted"] == {"kind": "medical"}
    assert shown["datanets"][1]["id"] == "weather"
    assert shown["datanets"][0]["contributors"][0]["address"] == ANA
