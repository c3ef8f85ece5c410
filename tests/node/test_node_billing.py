"""Tariff and bills: what a request costs, who is paid, and that no gwei appears or is lost."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

pytest.importorskip("cbor2", reason="needs the node extra (cbor2)")

from models.apportion import apportion_reference
from models.errors import InputError
from models.fees import quote
from models.units import parse_quantity
from reference_node.billing import Tariff
from reference_node.billing.bill import PAID_OUT, Tokens, fee_of, make_bill, whole_weights
from reference_node.billing.tariff import BUNDLED, Rates
from reference_node.billing.terms import Contributor, DataNet, Terms, statement_document, statement_root
from reference_node.manifest import AdapterManifest
from tests.node.billing_world import ANA, BEN, CID, FALLBACK, LAW, NOTES, OWNER, adapter

pytestmark = pytest.mark.node

ROOT = Path(__file__).resolve().parents[2]
TARIFF = Tariff.illustrative()


def tariff_with(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    text = BUNDLED.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    path = tmp_path / "tariff.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def terms_of(*adapters: object) -> list[Terms]:
    return [Terms.of(one) for one in adapters]


def test_bundled_tariff_is_the_baseline_scenario() -> None:
    scenario = YAML(typ="safe").load((ROOT / "scenarios/baseline.yaml").read_text(encoding="utf-8"))
    fees, price = scenario["fees"], parse_quantity(scenario["market"]["open_price"]["value"]).number
    for side in ("input", "output"):
        usd = parse_quantity(next(iter(fees[side]["at"].values()))).number
        assert getattr(TARIFF.base, side) == int(quote(int(usd * 10**6), float(price)))
    assert TARIFF.base.cached == TARIFF.base.input
    assert f"{TARIFF.platform_bps // 100} %" == fees["platform"]["value"]
    assert TARIFF.burn_bps == 0 == int(fees["burn"].removesuffix(" %"))
    assert dict(TARIFF.weights) == {name: fees["split"][name] for name in TARIFF.weights}
    assert {origin.kind for origin in TARIFF.origins.values()} == {"illustrative"} == {scenario["class"]}
    assert all(origin.source for origin in TARIFF.origins.values())


def test_bundled_addresses_are_the_sandbox_accounts() -> None:
    keccak = pytest.importorskip("eth_hash.auto").keccak
    labels = {"platform": "operators_pot", "stakers": "staking_rewards", "fallback": "treasury.l2"}
    for name, label in labels.items():
        assert TARIFF.addresses[name] == "0x" + keccak(f"olsim:{label}".encode())[-20:].hex()


def test_all_mistakes_of_a_tariff_at_once(tmp_path: Path) -> None:
    path = tariff_with(
        tmp_path,
        ("input:  {value: 166_666_666 gwei/1M tokens", "input:  {value: 0.5 gwei/1M tokens"),
        ("value: 666_666_666 gwei/1M tokens", "value: 666_666_666 gwei"),
        ("platform: {value: 10 %", "platform: {value: 10.001 %"),
        ("burn: {value: 0 %", "burn: {value: 0"),
        ("model: 2", "modl: 2"),
        ('"0x773d091B56fecfE2D84B3c1a5F1e1576b91e927a"', '"0x773d091b56fecfE2D84B3c1a5F1e1576b91e927a"'),
        ('"0x9e3BC583f07F428CF7e9b92C04C18B88265D0B19"', '"0x0000000000000000000000000000000000000000"'),
        ('"0x67A810c9864e7a4dCb03B9d2befc820DeAffc92b"', "0x67A810c9864e7a4dCb03B9d2befc820DeAffc92b"),
        ("class: illustrative", "class: guessed"),
    )
    with pytest.raises(InputError) as refused:
        Tariff.read(path)
    said = [(problem.where.removeprefix(f"{path}:"), problem.path) for problem in refused.value.problems]
    assert said == [
        ("5:1", "class"),
        ("10:14", "rates.base.input.value"),
        ("11:14", "rates.base.output.value"),
        ("16:14", "split.platform.value"),
        ("18:10", "split.burn.value"),
        ("21:5", "split.weights.modl"),
        ("20:5", "split.weights.model"),
        ("26:14", "addresses.platform.value"),
        ("27:13", "addresses.stakers.value"),
        ("29:14", "addresses.fallback.value"),
    ]
    text = str(refused.value)
    for message in ("whole number from 0", "expected gwei/1M tokens", "whole basis points", "wrong checksum"):
        assert message in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no map"),
        ("a: [", "not YAML"),
        ("a: 1\na: 2\n", 'duplicate key "a"'),
        ("schema: 2\nname: x\n", "this version reads 1"),
        ("schema: 1\nname: x\nrates: 3\n", "rates: is 3; expected a map"),
    ],
)
def test_what_is_no_tariff(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "tariff.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        Tariff.read(path)
    assert message in str(refused.value)
    assert len(refused.value.problems) <= 4


def test_a_figure_without_class_or_source_is_refused(tmp_path: Path) -> None:
    path = tariff_with(tmp_path, ("class: illustrative\n", ""), ("source: scenarios/baseline.yaml\n", ""))
    with pytest.raises(InputError) as refused:
        Tariff.read(path)
    assert {p.message for p in refused.value.problems} == {"has no class and source, of its own or above it"}
    assert len(refused.value.problems) == len(TARIFF.origins)


def test_adapters_may_have_rates_of_their_own(tmp_path: Path) -> None:
    own = (
        "adapters:\n    alias-1: {input: 7 gwei/1M tokens, output: 8 gwei/1M tokens, cached: 1 gwei/1M tokens}\n"
        f"    {'2' * 64}: {{input: 9 gwei/1M tokens, output: 9 gwei/1M tokens, cached: 9 gwei/1M tokens}}\n"
    )
    tariff = Tariff.read(tariff_with(tmp_path, ("adapters: {}", own)))
    assert tariff.rates_of("1" * 64, "alias-1") == Rates(7, 8, 1)
    assert tariff.rates_of("2" * 64, "alias-1") == Rates(9, 9, 9)
    assert tariff.rates_of("3" * 64, "alias-3") == tariff.base
    assert tariff.sha256 != TARIFF.sha256
    again = Tariff.from_document(tariff.document())
    assert again.sha256 == tariff.sha256


def test_the_hash_of_a_tariff_covers_figures_alone(tmp_path: Path) -> None:
    path = tariff_with(
        tmp_path, ("name: baseline", "name: other"), ("class: illustrative", "class: estimated")
    )
    assert Tariff.read(path).sha256 == TARIFF.sha256


def test_golden_bill() -> None:
    bill = make_bill("0" * 32, Tokens(1000, 0, 200), TARIFF, terms_of(adapter("1", LAW)), [1.0])
    assert bill.fee_gwei == (1000 * 166_666_666 + 200 * 666_666_666) // 10**6 == 299_999
    assert bill.parts == {
        "platform": 29_999,
        "burn": 0,
        "model": 60_000,
        "stakers": 60_000,
        "contributors": 150_000,
    }
    # 70 % of 150,000 is 105,000: two thirds and one third in basis points; 30 % is 45,000
    assert bill.payees == {OWNER: 60_000, ANA: 70_004, BEN: 34_996, CID: 45_000}


def test_nobody_known_means_the_fallback() -> None:
    for terms, weights in (([], []), (terms_of(adapter("2")), [1.0])):
        bill = make_bill("0" * 32, Tokens(1000, 0, 200), TARIFF, terms, weights)
        assert bill.payees == {FALLBACK: bill.parts["model"] + bill.parts["contributors"]}
    ownerless = AdapterManifest("0x" + "0" * 40, LAW.datanets)
    bill = make_bill("0" * 32, Tokens(1000, 0, 200), TARIFF, terms_of(adapter("1", ownerless)), [1.0])
    assert bill.payees[FALLBACK] == bill.parts["model"]


def test_an_ensemble_divides_by_exact_weights() -> None:
    terms = terms_of(adapter("1", LAW), adapter("3", NOTES))
    bill = make_bill("0" * 32, Tokens(10_000, 0, 9), TARIFF, terms, [0.75, -0.25])
    assert bill.payees[OWNER] == apportion_reference(bill.parts["model"], [3, 1])[0]
    assert bill.payees[FALLBACK] == apportion_reference(bill.parts["contributors"], [3, 1])[1]  # no DataNets


def test_whole_weights() -> None:
    assert whole_weights([]) == []
    assert whole_weights([0.0, 0.0]) == [1, 1]
    assert whole_weights([2.0, 0.5, 0.0]) == [4, 1, 0]
    tiny = whole_weights([5e-324, 1.0])
    assert Fraction(tiny[0], tiny[1]) == Fraction(5e-324)
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite"):
            whole_weights([1.0, bad])


def test_cached_tokens_have_a_rate_and_the_fee_one_floor() -> None:
    rates = Rates(input=400_000, output=900_000, cached=300_000)
    assert fee_of(Tokens(2, 1, 1), [rates], [1]) == 1  # 0.4 + 0.3 + 0.9 = 1.6
    assert fee_of(Tokens(2, 1, 1), [rates, Rates(0, 0, 0)], [1, 1]) == 0  # 0.8
    assert fee_of(Tokens(2, 1, 1), [rates, Rates(0, 0, 0)], [3, 1]) == 1  # 1.2
    with pytest.raises(ValueError, match="no more cached than in"):
        Tokens(1, 2, 0)


addresses = st.sampled_from([OWNER, ANA, BEN, CID, ""])
shares = st.integers(0, 10_000)
contributors = st.lists(st.builds(Contributor, st.sampled_from("xyz"), addresses, shares), max_size=4).map(
    tuple
)
nets = st.lists(st.builds(DataNet, st.sampled_from("lmn"), shares, contributors), max_size=3).map(tuple)
terms_lists = st.lists(
    st.tuples(
        st.builds(Terms, st.sampled_from(["1" * 64, "2" * 64]), st.sampled_from(["a", "b"]), addresses, nets),
        st.floats(-1e9, 1e9),
    ),
    max_size=4,
)
rates = st.builds(Rates, *[st.integers(0, 10**12)] * 3)
tariffs = st.builds(
    Tariff,
    st.just("any"),
    rates,
    st.dictionaries(st.sampled_from(["a", "1" * 64]), rates),
    st.integers(0, 10_000),
    st.integers(0, 10**9),
    st.integers(0, 10_000),
    st.tuples(*[st.integers(0, 10**6)] * 3)
    .filter(any)
    .map(lambda w: dict(zip(("model", "stakers", "contributors"), w, strict=True))),
    st.just(TARIFF.addresses),
)


@given(tariffs, terms_lists, st.integers(0, 10**5), st.integers(0, 10**5), st.integers(0, 10**5))
def test_money_is_conserved(
    tariff: Tariff, weighted: list[tuple[Terms, float]], computed: int, cached: int, generated: int
) -> None:
    terms, weights = [one for one, _ in weighted], [weight for _, weight in weighted]
    bill = make_bill("f" * 32, Tokens(computed + cached, cached, generated), tariff, terms, weights)
    assert sum(bill.parts.values()) == bill.fee_gwei
    assert sum(bill.payees.values()) == sum(bill.parts[name] for name in PAID_OUT)
    assert min([0, *bill.parts.values(), *bill.payees.values()]) == 0
    assert set(bill.payees) <= {OWNER, ANA, BEN, CID, FALLBACK}


@given(rates, st.lists(st.integers(0, 10**4), min_size=3, max_size=3), st.integers(1, 50))
def test_an_ensemble_of_equal_rates_costs_what_one_adapter_costs(
    rate: Rates, counts: list[int], weight: int
) -> None:
    tokens = Tokens(counts[0] + counts[1], counts[1], counts[2])
    assert fee_of(tokens, [rate, rate], [weight, 3]) == fee_of(tokens, [rate], [1])


@given(terms_lists)
def test_statements_survive_their_document_and_differ_by_root(weighted: list[tuple[Terms, float]]) -> None:
    terms = [one for one, _ in weighted]
    document = statement_document(terms)
    assert [Terms.from_document(one) for one in document["adapters"]] == terms
    extra = [*terms, Terms("3" * 64, "", "", ())]
    assert statement_root(extra) != statement_root(terms)
