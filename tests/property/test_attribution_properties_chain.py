"""Attribution, properties on chain: 18, 19 and 20 (wei). A property's number is in its tests' names."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("eth", reason="needs the chain extra (py-evm)")
pytest.importorskip("cbor2", reason="needs the node extra (cbor2)")

from models.apportion import apportion_reference
from models.errors import InputError
from models.merkle import payout_leaf, payout_tree
from models.units import WEI_PER_GWEI
from reference_node.billing import BillingLog, ServedAdapter, ServedRequest, Tariff, close_epoch
from reference_node.billing.claim import claim_call
from reference_node.billing.served import Influence
from reference_node.manifest import AdapterManifest, ContributorShare, DataNetShare
from sim.chain.abi import Reverted
from sim.chain.addresses import address_of, keccak
from sim.chain.clients.distributor import Distributor, Posted
from sim.chain.demo import day0_timestamp
from sim.chain.evm import Chain

pytestmark = [pytest.mark.chain, pytest.mark.slow]

POSTER = address_of("poster")
BASE, ADAPTER = "ba" * 32, "1" * 64
PEOPLE = [f"c{i}" for i in range(5)]
MANIFEST = AdapterManifest(
    "0x" + address_of("owner").hex(),
    (
        DataNetShare(
            "net",
            10_000,
            tuple(ContributorShare(name, "0x" + address_of(name).hex(), 2_000) for name in PEOPLE),
        ),
    ),
)


def served(number: int, weights: list[int]) -> ServedRequest:
    named = {(ADAPTER, "net", name): weight for name, weight in zip(PEOPLE, weights, strict=True)}
    return ServedRequest(
        request_id=f"{number:032x}",
        ts=1_760_000_000_000 + number,
        key_id="key",
        tenant="tenant",
        base_sha256=BASE,
        adapters=(ServedAdapter(ADAPTER, "adapter", 1, manifest=MANIFEST),),
        prompt_tokens=tuple(range(50 + number)),
        completion=tuple(range(30)),
        influence=Influence("ef_base.v1", named),
    )


def open_log(folder: Path) -> BillingLog:
    return BillingLog(folder, BASE, "", Tariff.illustrative())


def distributor() -> Distributor:
    chain = Chain(chain_id=1_000, genesis_time=day0_timestamp(), balances={POSTER: 10**30})
    return Distributor.deploy(chain, POSTER, admin=POSTER, poster=POSTER)


def post(contract: Distributor, settlement: Any) -> None:
    contract.post_epoch(
        POSTER,
        Posted(
            settlement.epoch,
            settlement.log_root,
            settlement.log_size,
            settlement.payout_root,
            settlement.total_wei,
            settlement.uri_hash,
        ),
        settlement.total_wei - settlement.previous_wei,
    )


influences = st.lists(st.lists(st.integers(0, 200_000_000), min_size=5, max_size=5), min_size=1, max_size=6)


@settings(max_examples=10)
@given(influences, st.randoms(use_true_random=False))
def test_18_order_and_replay_change_no_payout_root(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[int]], random: Any
) -> None:
    requests = [served(i, row) for i, row in enumerate(rows)]
    roots = set()
    for attempt in range(2):
        folder = tmp_path_factory.mktemp("epoch")
        with_order = list(requests)
        if attempt:
            random.shuffle(with_order)
        log = open_log(folder / "log")
        log.append_all(with_order)
        with pytest.raises(InputError, match="it was billed before"):
            log.append(with_order[0])
        settlement = close_epoch(log, folder / "out")
        assert close_epoch(log, folder / "out").encode() == settlement.encode()
        log.close()
        roots.add((settlement.payout_root, settlement.total_wei))
    assert len(roots) == 1


@settings(max_examples=6)
@given(influences)
def test_19_claims_pay_the_settlement_once_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[int]]
) -> None:
    folder, contract = tmp_path_factory.mktemp("claims"), distributor()
    log = open_log(folder / "log")
    for epoch, part in enumerate((rows, rows[:1])):
        log.append_all([served(100 * epoch + i, row) for i, row in enumerate(part)])
        settlement = close_epoch(log, folder / "out")
        post(contract, settlement)
        for payee in settlement.payees:
            account = bytes.fromhex(payee["address"][2:])
            cumulative, proof = int(payee["cumulative_wei"]), [bytes.fromhex(p[2:]) for p in payee["proof"]]
            with pytest.raises(Reverted, match="InvalidProof"):
                contract.claim(POSTER, account, cumulative + 1, proof)
            if int(payee["gwei"]):
                assert (
                    contract.claim(POSTER, account, cumulative, proof)[0] == int(payee["gwei"]) * WEI_PER_GWEI
                )
            with pytest.raises(Reverted, match="NothingToClaim"):
                contract.claim(POSTER, account, cumulative, proof)
            assert contract.chain.balance(account) == cumulative
    log.close()
    assert contract.claimed_total() == settlement.total_wei
    assert contract.chain.balance(contract.address) == 0


def test_19_an_inner_node_is_no_leaf() -> None:
    """Second preimage: 64 bytes that hash to an inner node are no (address, amount) that a claim can name."""
    contract = distributor()
    payouts = [(address_of(name), 10 + i) for i, name in enumerate(PEOPLE[:4])]
    tree = payout_tree(payouts, keccak)
    contract.post_epoch(POSTER, Posted(1, bytes(32), 1, tree.root, 100, bytes(32)), 100)
    leaves = [payout_leaf(account, amount, keccak) for account, amount in payouts]
    proofs = [tree.proof(leaf) for leaf in leaves]
    # the inner node above the first leaf, as "account and amount" of a shorter proof
    pair = sorted((leaves[0], proofs[0][0]))
    forged = pair[0][12:], int.from_bytes(pair[1], "big")
    with pytest.raises(Reverted, match="InvalidProof"):
        contract.claim(POSTER, forged[0], forged[1], proofs[0][1:])


def test_19_python_call_data_claims(tmp_path: Path) -> None:
    """What `claim_call` builds from a settlement file, sent as it is by anybody, pays the payee."""
    contract = distributor()
    log = open_log(tmp_path / "log")
    log.append(served(1, [400_000_000, 100_000_000, 0, 0, 0]))
    settlement = close_epoch(log, tmp_path / "out")
    post(contract, settlement)
    payee = settlement.payee("0x" + address_of("c0").hex())
    receipt = contract.chain.send(POSTER, contract.address, claim_call(payee), 0)
    assert receipt.status == 1
    assert contract.chain.balance(address_of("c0")) == int(payee["cumulative_wei"]) > 0


# PUSH n DUP1 PUSH 9 RETURNDATASIZE CODECOPY RETURNDATASIZE RETURN, then c, b, a: MUL DIV and the word is returned
_MUL_DIV = bytes.fromhex("604035602035600035020460005260206000f3")
_CREATE = bytes.fromhex(f"60{len(_MUL_DIV):02x}8060093d393df3") + _MUL_DIV


@cache
def multiplier() -> tuple[Chain, bytes]:
    chain = Chain(chain_id=1_000, genesis_time=day0_timestamp(), balances={POSTER: 10**20})
    receipt = chain.deploy(POSTER, _CREATE)
    assert receipt.status == 1
    return chain, receipt.contract_address


def mul_div_on_chain(a: int, b: int, c: int) -> int:
    chain, address = multiplier()
    result = chain.call(address, b"".join(number.to_bytes(32, "big") for number in (a, b, c)))
    assert result.status == 1
    return int.from_bytes(result.output, "big")


@settings(max_examples=25)
@given(st.integers(0, 10**27), st.lists(st.integers(0, 2**64), min_size=1, max_size=6))
def test_20_floors_in_wei_are_those_of_the_machine(pot: int, weights: list[int]) -> None:
    whole = sum(weights)
    parts = apportion_reference(pot, weights)
    if whole:
        floors = [mul_div_on_chain(pot, weight, whole) for weight in weights]
        assert all(0 <= part - floor <= 1 for part, floor in zip(parts, floors, strict=True))
        assert sum(parts) - sum(floors) < len(weights)
        assert floors == [pot * weight // whole for weight in weights]


@settings(max_examples=5)
@given(influences)
def test_20_wei_on_chain_are_gwei_in_the_ledger_times_a_billion(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[int]]
) -> None:
    folder, contract = tmp_path_factory.mktemp("wei"), distributor()
    log = open_log(folder / "log")
    bills = log.append_all([served(i, row) for i, row in enumerate(rows)])
    settlement = close_epoch(log, folder / "out")
    log.close()
    post(contract, settlement)
    gwei = sum(sum(bill.payees.values()) for bill in bills)
    assert contract.latest().total_wei == gwei * WEI_PER_GWEI == contract.chain.balance(contract.address)
