"""Blocks: headers and roots as py-evm computes them, ancestors, snapshots, base fees, and earlier states."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("eth")

from eth.db.trie import make_trie_root_and_nodes
from eth.rlp.logs import Log as EvmLog
from eth.rlp.receipts import Receipt as EvmReceipt
from eth.vm.forks.london.headers import calculate_expected_base_fee_per_gas
from eth.vm.forks.prague.blocks import PragueBlockHeader
from eth.vm.forks.prague.receipts import PragueTypedReceipt
from eth.vm.forks.prague.transactions import PragueTransactionBuilder
from eth_keys import keys

from sim.chain.addresses import address_of, keccak
from sim.chain.backend import ChainError
from sim.chain.clients.open_token import OpenToken
from sim.chain.evm import Chain
from sim.chain.header import NO_STATE_ROOT, next_base_fee

ALICE, BOB, CAROL = address_of("alice"), address_of("bob"), address_of("carol")
OPEN, T0 = 10**18, 1_757_289_600
KEY = keys.PrivateKey(bytes(31) + b"\x07")
SIGNER = KEY.public_key.to_canonical_address()
HISTORY = bytes.fromhex("0000f90827f1c53a10cb7a02335b175320002935")
ANSWERS_BLOCKHASH = bytes.fromhex("5f35405f5260205ff3")
"""Code that returns BLOCKHASH of the number in its calldata."""


def chain(**options):
    return Chain(
        chain_id=900_161, genesis_time=T0, balances={ALICE: 100 * OPEN, SIGNER: 100 * OPEN}, **options
    )


def signed(chain, type_id, *, to=BOB, data=b"", value=5, gas=100_000):
    """Return a signed transaction of the next nonce, from py-evm's own builders."""
    build, nonce = PragueTransactionBuilder, chain.nonce(SIGNER)
    if type_id == 0:
        unsigned = build.create_unsigned_transaction(
            nonce=nonce, gas_price=0, gas=gas, to=to, value=value, data=data
        )
        return unsigned.as_signed_transaction(KEY, chain_id=chain.chain_id).encode()
    if type_id == 1:
        unsigned = build.new_unsigned_access_list_transaction(
            chain.chain_id, nonce, 0, gas, to, value, data, [(CAROL, [1, 2])]
        )
    else:
        unsigned = build.new_unsigned_dynamic_fee_transaction(
            chain.chain_id, nonce, 0, 0, gas, to, value, data, [(CAROL, [3])]
        )
    return unsigned.as_signed_transaction(KEY).encode()


def test_a_header_has_the_hash_that_py_evm_gives_it():
    c = chain(sealed=True)
    OpenToken.deploy(c, ALICE, name="OpenLedger", symbol="OPEN", cap_wei=10**27, holder=ALICE)
    c.seal()
    header = c.blocks.block(1).header
    theirs = PragueBlockHeader(
        difficulty=0, block_number=header.number, gas_limit=header.gas_limit, timestamp=header.timestamp,
        coinbase=header.coinbase, parent_hash=header.parent_hash, state_root=header.state_root,
        transaction_root=header.transactions_root, receipt_root=header.receipts_root, bloom=header.bloom,
        gas_used=header.gas_used, nonce=bytes(8), base_fee_per_gas=header.base_fee,
    )  # fmt: skip
    assert c.blocks.hash_of(1) == theirs.hash
    assert header.bloom
    assert header.gas_used > 500_000


def test_roots_of_signed_transactions_and_their_receipts_are_py_evm_s():
    """Twelve transactions of three types in one block, some of which write events and some of which fail."""
    c = chain(sealed=True)
    token = OpenToken.deploy(c, SIGNER, name="OpenLedger", symbol="OPEN", cap_wei=10**27, holder=SIGNER)
    c.seal()
    raws = []
    for i in range(12):
        function = (token.abi.encode_call("transfer", BOB, i), b"", token.abi.encode_call("burn", 10**30))[
            i % 3
        ]
        to, value = (BOB, 7) if function == b"" else (token.address, 0)
        raws.append(signed(c, i % 3 if i < 9 else 2, to=to, data=function, value=value))
        c.send_signed(raws[-1])
    number = c.seal()
    block, receipts = c.blocks.block(number), c.blocks.receipts[1:]
    theirs = [PragueTransactionBuilder.decode(raw) for raw in raws]
    assert block.header.transactions_root == make_trie_root_and_nodes(tuple(theirs))[0]
    assert block.transactions == tuple(one.hash for one in theirs)
    typed = []
    for one, receipt, gas in zip(theirs, receipts, block.cumulative_gas, strict=True):
        logs = [
            EvmLog(log.address, tuple(int.from_bytes(t, "big") for t in log.topics), log.data)
            for log in receipt.logs
        ]
        plain = EvmReceipt(b"\x01" if receipt.status else b"", gas, logs)
        typed.append(plain if one.type_id is None else PragueTypedReceipt(one.type_id, plain))
    assert block.header.receipts_root == make_trie_root_and_nodes(tuple(typed))[0]
    bloom = 0
    for receipt in typed:
        bloom |= receipt.bloom
    assert block.header.bloom == bloom
    assert {receipt.status for receipt in receipts} == {0, 1}
    assert block.header.gas_used == sum(receipt.gas_used for receipt in receipts)


def _number(topic):
    return int.from_bytes(topic, "big")


def test_blocks_follow_one_another():
    c = chain(sealed=True)
    for i in range(3):
        c.send(ALICE, BOB, value=i)
        c.set_time(c.time + 100)
    blocks = [c.blocks.block(number) for number in range(4)]
    assert [b.header.parent_hash for b in blocks] == [bytes(32), *(b.hash for b in blocks[:-1])]
    assert [b.header.timestamp for b in blocks] == [T0 - 1, T0, T0 + 100, T0 + 200]
    assert [len(b.transactions) for b in blocks] == [0, 1, 1, 1]
    assert c.blocks.number_of(blocks[2].hash) == 2
    assert c.blocks.number_of(b"\x01" * 32) is None
    with pytest.raises(IndexError, match="block 4 has not ended; the last one is 3"):
        c.blocks.block(4)
    assert c.view(3).proof(ALICE, ()).state_root == blocks[3].header.state_root != blocks[2].header.state_root


def test_one_block_for_each_transaction_or_one_for_a_batch():
    batch, each = chain(), chain(automine=True)
    for c in (batch, each):
        for i in range(5):
            c.send(ALICE, BOB, value=i)
    assert (batch.block_number, {r.block_number for r in batch.receipts}) == (1, {1})
    assert (each.block_number, [r.block_number for r in each.receipts]) == (6, [1, 2, 3, 4, 5])
    assert [r.timestamp for r in each.receipts] == [T0 + i for i in range(5)]
    each.set_time(T0 + 500)
    assert (each.block_number, each.time) == (6, T0 + 500)


def test_hashes_do_not_depend_on_when_they_are_asked_for():
    curious, patient = chain(), chain()
    for c in (curious, patient):
        for i in range(4):
            c.send(ALICE, BOB, value=i)
            c.set_time(c.time + 1)
            if c is curious:
                c.blocks.hash_of(c.blocks.latest)
                c.state_root()
    assert [curious.blocks.hash_of(i) for i in range(5)] == [patient.blocks.hash_of(i) for i in range(5)]
    assert curious.blocks.block(3).header.state_root == NO_STATE_ROOT


@pytest.mark.parametrize("sealed", [False, True])
def test_code_sees_the_hashes_of_256_blocks(sealed):
    c = chain(sealed=sealed)
    c.set_code(CAROL, ANSWERS_BLOCKHASH)
    for _ in range(300):
        c.seal()
    now = c.block_number

    def blockhash(number):
        return c.call(CAROL, number.to_bytes(32, "big")).output

    assert blockhash(now - 1) == c.blocks.hash_of(now - 1)
    assert blockhash(now - 256) == c.blocks.hash_of(now - 256)
    assert blockhash(now - 257) == blockhash(now) == bytes(32)


def test_a_sealing_chain_keeps_its_parents_in_the_history_contract():
    """EIP-2935: written before a block's first transaction, also of an empty block."""
    c = chain(sealed=True)
    for _ in range(5):
        c.seal()
    c.send(ALICE, BOB, value=1)
    for number in range(c.block_number):
        assert c.storage(HISTORY, number) == int.from_bytes(c.blocks.hash_of(number), "big")
    assert c.call(HISTORY, (3).to_bytes(32, "big")).output == c.blocks.hash_of(3)
    assert chain().code(HISTORY) == b""


def test_snapshots_restore_blocks_transactions_receipts_and_events():
    c = chain(sealed=True, automine=True, traced=True)
    token = OpenToken.deploy(c, ALICE, name="OpenLedger", symbol="OPEN", cap_wei=10**27, holder=ALICE)
    mark = c.snapshot()
    before = (c.block_number, c.time, c.receipts, c.logs(), c.state_root(), len(c.blocks.frames))
    token.transfer(ALICE, BOB, 5)
    first = c.blocks.hash_of(c.blocks.latest), c.blocks.transaction_hash(1)
    c.revert(mark)
    assert (c.block_number, c.time, c.receipts, c.logs(), c.state_root(), len(c.blocks.frames)) == before
    assert (c.blocks.number_of(first[0]), c.blocks.find(first[1])) == (None, None)
    token.transfer(ALICE, BOB, 6)
    assert c.blocks.hash_of(c.blocks.latest) != first[0]
    c.revert(mark)
    token.transfer(ALICE, BOB, 5)
    assert (c.blocks.hash_of(c.blocks.latest), c.blocks.transaction_hash(1)) == first


def test_a_snapshot_in_the_middle_of_a_block_keeps_the_block_open():
    c = chain(sealed=True)
    c.send(ALICE, BOB, value=1)
    mark = c.snapshot()
    c.send(ALICE, BOB, value=2)
    c.seal()
    c.revert(mark)
    assert (c.block_number, c.transaction_count) == (1, 1)
    c.send(ALICE, BOB, value=3)
    assert len(c.blocks.block(c.seal()).transactions) == 2


def test_earlier_blocks_can_be_read_and_called():
    c = chain(sealed=True, automine=True)
    token = OpenToken.deploy(c, ALICE, name="OpenLedger", symbol="OPEN", cap_wei=10**27, holder=ALICE)
    for _ in range(3):
        token.transfer(ALICE, BOB, 10)
        c.send(ALICE, CAROL, value=4)
    held = [int.from_bytes(_call(c.view(n), token, BOB), "big") for n in range(1, c.block_number + 1)]
    assert held == [0, 10, 10, 20, 20, 30, 30, 30]
    assert [c.view(n).balance(CAROL) for n in range(c.block_number)] == [0, 0, 0, 4, 4, 8, 8, 12]
    assert c.view(2).nonce(ALICE) == 2
    assert c.view(0).code(token.address) == b""
    for n, words in ((99, "there is no block 99; the latest is 7"), (-1, "there is no block -1")):
        with pytest.raises(ChainError, match=words):
            c.view(n)
    plain = chain()
    plain.seal()
    with pytest.raises(ChainError, match="block 1 kept no state"):
        plain.view(1)


def _call(view, token, account):
    from sim.chain.message import Message

    return view.peek(Message(ALICE, token.address, token.abi.encode_call("balanceOf", account))).output


def test_the_latest_block_s_calls_see_its_own_time_and_number():
    """TIMESTAMP and NUMBER of the latest block, and of the one that comes next."""
    from sim.chain.message import Message

    c = chain(sealed=True, automine=True)
    c.set_code(CAROL, bytes.fromhex("425f52436020524860405260605ff3"))
    c.send(ALICE, BOB, value=1)
    c.schedule(T0 + 1_000)
    for number, time in ((1, T0), (2, T0 + 1_000)):
        output = c.view(number).peek(Message(ALICE, CAROL)).output
        assert [int.from_bytes(output[i : i + 32], "big") for i in (0, 32, 64)] == [time, number, 0]


def test_only_an_empty_block_gets_another_time():
    c = chain()
    c.schedule(T0 + 50)
    c.schedule(T0 + 10)
    with pytest.raises(ChainError, match=f"time {T0 - 1} is not after the latest block's {T0 - 1}"):
        c.schedule(T0 - 1)
    c.send(ALICE, BOB)
    with pytest.raises(ChainError, match="the present block has transactions; its time is fixed"):
        c.schedule(T0 + 60)
    assert c.receipts[0].timestamp == T0 + 10


def test_base_fees_move_as_py_evm_says():
    draw = random.Random(5)
    for _ in range(300):
        limit, base = (
            draw.choice([30_000_000, 60_000_000]),
            draw.choice([1, 7, 8, 10**9, 875_000_000, 10**12]),
        )
        used = draw.choice([0, limit // 2, limit, draw.randrange(limit), limit // 2 + 1])
        parent = PragueBlockHeader(
            difficulty=0, block_number=1, gas_limit=limit, gas_used=used, timestamp=T0, base_fee_per_gas=base
        )
        assert next_base_fee(base, used, limit) == calculate_expected_base_fee_per_gas(parent)


def test_fees_go_to_the_vault_and_the_coinbase_or_are_burned():
    tip, base = 2, 1_000_000_000
    for vault in (None, CAROL):
        c = chain(base_fee=base, coinbase=BOB, base_fee_vault=vault)
        assert c.base_fee == 875_000_000
        fee = 2 * base
        raw = (
            PragueTransactionBuilder.new_unsigned_dynamic_fee_transaction(
                c.chain_id, 0, tip, fee, 21_000, ALICE, 3, b"", []
            )
            .as_signed_transaction(KEY)
            .encode()
        )
        before = sum(map(c.balance, (ALICE, BOB, CAROL, SIGNER)))
        receipt = c.send_signed(raw)
        assert c.balance(BOB) == tip * receipt.gas_used
        assert c.balance(SIGNER) == 100 * OPEN - 3 - receipt.gas_used * (c.base_fee + tip)
        burned = before - sum(map(c.balance, (ALICE, BOB, CAROL, SIGNER)))
        assert burned == (receipt.gas_used * c.base_fee if vault is None else 0)
        c.send(ALICE, BOB, value=1)
        assert c.balance(ALICE) == 100 * OPEN + 3 - 1


def test_a_state_can_be_taken_to_another_chain():
    here, there = chain(sealed=True), chain(sealed=True)
    token = OpenToken.deploy(here, ALICE, name="OpenLedger", symbol="OPEN", cap_wei=10**27, holder=ALICE)
    token.transfer(ALICE, BOB, 77)
    root, nodes = here.export_state()
    there.import_state(root, nodes)
    assert OpenToken(there, token.address).balance_of(BOB) == 77
    assert there.state_root() == root
    no_node = b"\xc0"
    wrong = (
        (root, nodes[:-1]),
        (root, (*nodes[:-1], b"\x01" + nodes[-1])),
        (root, ()),
        (keccak(no_node), (no_node,)),
    )
    for other, parts in wrong:
        with pytest.raises(ChainError, match=r"is missing|not the nodes of a state"):
            there.import_state(other, parts)
    assert there.state_root() == root
