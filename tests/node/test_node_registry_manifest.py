"""Manifests: who is paid, exactly; every mistake is said at once with its path."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InputError
from reference_node.manifest import (
    AdapterManifest,
    ContributorShare,
    DataNetShare,
    parse_manifest,
    read_manifest,
    write_manifest,
)

pytestmark = pytest.mark.node

A, B, C, D = ("0x" + digit * 40 for digit in "abcd")
CHECKED = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


def document(**change: Any) -> dict[str, Any]:
    law = {"id": "law", "share_bps": 7_500, "contributors": [
        {"id": "ann", "address": A, "share_bps": 3_333}, {"id": "bob", "address": B, "share_bps": 6_667},
    ]}  # fmt: skip
    code = {
        "id": "code",
        "share_bps": 2_500,
        "contributors": [{"id": "ann", "address": A, "share_bps": 10_000}],
    }
    return {"schema": 1, "owner": D, "datanets": [law, code], "description": "on law and code"} | change


def parse(raw: Any) -> AdapterManifest:
    return parse_manifest(json.dumps(raw).encode())


def test_payees_are_exact_and_each_address_is_paid_once_per_part():
    paid = [(payee.part, payee.address, payee.share) for payee in parse(document()).payees()]
    assert paid == [
        ("model", D, Fraction(1)),
        ("contributors", A, Fraction(7_500 * 3_333 + 2_500 * 10_000, 10**8)),
        ("contributors", B, Fraction(7_500 * 6_667, 10**8)),
    ]


def test_a_manifest_without_datanets_pays_its_owner_alone():
    made = parse({"schema": 1, "owner": CHECKED})
    assert made == AdapterManifest(CHECKED.lower())
    assert [(payee.part, payee.address) for payee in made.payees()] == [("model", CHECKED.lower())]


DATANET = document()["datanets"][1]
CONTRIBUTOR = DATANET["contributors"][0]
FAULTS = {
    "no mapping": ([], ["must be a mapping with schema, owner"]),
    "nothing": ({}, ["schema: is missing", "owner: is missing"]),
    "other schema": (document(schema=2), ["schema: 2; allowed whole numbers from 1 to 1"]),
    "schema true": (document(schema=True), ["schema: True; allowed whole numbers"]),
    "unknown key": (document(onwer=A), [f"onwer: '{A}'; unknown key; allowed schema, owner, datanets"]),
    "short address": (document(owner=A[:-1]), [f"owner: '{A[:-1]}'; must be an address: 0x and 40"]),
    "address and a line break": (document(owner=A + "\n"), ["owner: '0xaa.*; must be an address"]),
    "address of other digits": (document(owner="0x" + "g" * 40), ["must be an address"]),
    "no text": (document(owner=7), ["owner: 7; must be an address"]),
    "zero address": (document(owner="0x" + "0" * 40), ["owner: .* is the zero address: what it is paid is lost"]),
    "mistyped address": (document(owner=CHECKED.replace("5aA", "5Aa")), ["owner: .* is mistyped: .* EIP-55"]),
    "hash": (document(base_sha256="F" * 64), ["base_sha256: 'F+'; must be null or 64 lower-case hexadecimal digits"]),
    "description": (document(description="x" * 2_001), ["description: .* must be text of at most 2000 characters"]),
    "control characters": (document(description="\x1b[2J"), ["description: .*control characters are not allowed"]),
    "training": (document(training=["x"]), ["training: .'x'.; must be null or a mapping"]),
    "long training": (document(training={"x": "y" * 40_000}), ["training: its size is 40009; allowed 32768 bytes"]),
    "no list": (document(datanets={}), ["datanets: {}; must be a list"]),
    "many DataNets": (document(datanets=[DATANET] * 257), ["datanets: 257; allowed 256 entries"]),
    "no shares": (document(datanets=[{"id": "law"}]), [
        "datanets.0..share_bps: is missing", "datanets.0..contributors: is missing", "sum of share_bps is 0",
    ]),
    "entry that is a number": (document(datanets=[7]), ["datanets.0.: 7; must be a mapping with id, share_bps"]),
    "sum over DataNets": (document(datanets=[DATANET]), ["datanets: sum of share_bps is 2500; .* exactly 10000"]),
    "sum over contributors": (
        document(datanets=[DATANET | {"share_bps": 10_000, "contributors": []}]),
        ["datanets.0..contributors: sum of share_bps is 0; share_bps must sum to exactly 10000"],
    ),
    "same DataNet twice": (
        document(datanets=[DATANET | {"share_bps": 5_000}] * 2), ["datanets: 'code'; each id at most once"],
    ),
    "share that is a fraction": (
        document(datanets=[DATANET | {"share_bps": 10_000.0}]),
        ["datanets.0..share_bps: 10000.0; allowed whole numbers from 0 to 10000"],
    ),
    "negative share": (
        document(datanets=[DATANET | {"share_bps": 10_000, "contributors": [
            CONTRIBUTOR | {"share_bps": -1}, CONTRIBUTOR | {"id": "bob", "share_bps": 10_001},
        ]}]),
        ["contributors.0..share_bps: -1; allowed", "contributors.1..share_bps: 10001; allowed"],
    ),
    "many at once": (
        document(owner="", datanets=[{"id": "a b", "share_bps": True, "contributors": [{"id": "", "address": A}]}]),
        ["owner: ''; must be", "datanets.0..id: 'a b'; must be 1 to 64 letters", "datanets.0..share_bps: True; allowed",
         "contributors.0..id: ''; must", "contributors.0..share_bps: is missing"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "messages"), FAULTS.values(), ids=FAULTS.keys())
def test_every_mistake_is_said_with_its_path(raw, messages):
    for message in messages:
        with pytest.raises(InputError, match=message):
            parse(raw)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"schema": 1, "owner": "x", "owner": "y"}', "key 'owner' appears twice"),
        (b" " * (512 * 1024 + 1), "524289 bytes of JSON; allowed 524288"),
        (b'{"training": ' + b"[" * 12, "nested deeper than 12 levels"),
        (rb'{"schema": 1, "owner": "x", "training": {"a": "\ud800"}}', "not valid JSON"),
        (b'{"training": {"loss": NaN}}', "NaN is not a JSON number"),
        (b'{"training": {"loss": 1e999}}', "1e999 is out of range"),
    ],
)
def test_text_that_readers_would_read_differently_is_refused(data, message):
    with pytest.raises(InputError, match=message):
        parse_manifest(data)


def test_many_contributors_are_limited_over_all_datanets():
    people = [{"id": f"p{i}", "address": A, "share_bps": 10_000 if i == 0 else 0} for i in range(1_001)]
    half = [{"id": name, "share_bps": 5_000, "contributors": people} for name in "ab"]
    with pytest.raises(InputError, match="2002; allowed 2000 contributors in all DataNets together"):
        parse(document(datanets=half))
    assert len(parse(document(datanets=[half[0] | {"share_bps": 10_000}])).datanets[0].contributors) == 1_001


@st.composite
def manifests(draw: st.DrawFn) -> AdapterManifest:
    def shares(count: int) -> list[int]:
        cuts = sorted(draw(st.lists(st.integers(0, 10_000), min_size=count - 1, max_size=count - 1)))
        return [high - low for low, high in zip([0, *cuts], [*cuts, 10_000], strict=True)]

    address = st.integers(1, 2**160 - 1).map(lambda number: f"0x{number:040x}")
    name = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,9}", fullmatch=True)
    datanets = []
    for name_, share in zip(
        names := draw(st.lists(name, max_size=3, unique=True)), shares(len(names) or 1), strict=False
    ):
        people = draw(st.lists(name, min_size=1, max_size=3, unique=True))
        parts = zip(people, shares(len(people)), strict=True)
        datanets.append(
            DataNetShare(name_, share, tuple(ContributorShare(p, draw(address), part) for p, part in parts))
        )
    return AdapterManifest(
        draw(address),
        tuple(datanets),
        draw(st.none() | st.just("f" * 64)),
        draw(
            st.none() | st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3)
        ),
        draw(st.text(alphabet=st.characters(categories=["L", "N", "P"]), max_size=20)),
    )


@given(manifests())
def test_a_manifest_is_read_back_as_it_was_and_pays_everything_it_earns(made):
    found = parse_manifest(made.to_json())
    assert found == made
    assert found.to_json() == made.to_json()
    for part in ("model", "contributors") if made.datanets else ("model",):
        paid = [payee.share for payee in made.payees() if payee.part == part]
        assert sum(paid) == 1
        assert all(share > 0 for share in paid)


def test_files_are_written_only_if_they_could_be_read(tmp_path):
    path = tmp_path / "manifest.json"
    write_manifest(parse(document()), path)
    assert read_manifest(path) == parse(document())
    with pytest.raises(InputError, match=r"manifest.json: owner: '0x12'; must be an address"):
        write_manifest(AdapterManifest("0x12"), tmp_path / "other" / "manifest.json")
    with pytest.raises(InputError, match="cannot read the adapter's manifest: No such file"):
        read_manifest(tmp_path / "missing.json")
