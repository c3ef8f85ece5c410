"""A recording: signed transactions in blocks at given times, with what our chain says of each.

The drawn sequence is played on our chain once; whoever is compared gets the same bytes in the same blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from eth_account import Account
from eth_utils import to_checksum_address

from sim.chain.addresses import keccak
from sim.chain.artifacts import OP_STACK, load
from sim.chain.evm import Chain
from sim.chain.message import ACCESS_LIST, DYNAMIC_FEE, LEGACY

CHAIN_ID = 900_009
T0 = 2_208_988_800  # 2040: the peers' blocks are never before their own clocks
GAS_LIMIT = 60_000_000
COIN = 10**18
FUNDED = 10**27
PASSER = bytes.fromhex("4200000000000000000000000000000000000016")
KEYS = tuple(keccak(f"a test's key {i}".encode()) for i in range(6))
PEOPLE = tuple(bytes.fromhex(Account.from_key(key).address[2:]) for key in KEYS)


@dataclass(frozen=True)
class Sent:
    """A transaction with our receipt and what it was drawn as."""

    kind: str
    raw: bytes
    receipt: object
    gas: int
    value: int
    data: bytes


@dataclass(frozen=True)
class Recorded:
    """A block: its number and time, and the transactions in it."""

    number: int
    timestamp: int
    sent: list[Sent] = field(default_factory=list)


class Recorder:
    """Signs, executes and writes down.

    Parameters
    ----------
    base_fee
        Of the genesis, wei per gas; with 0 nobody pays for gas.
    """

    def __init__(self, base_fee):
        self.fees = base_fee > 0
        self.chain = Chain(
            chain_id=CHAIN_ID, genesis_time=T0, balances=dict.fromkeys(PEOPLE, FUNDED),
            block_gas_limit=GAS_LIMIT, sealed=True, base_fee=base_fee,
        )  # fmt: skip
        self.chain.set_code(PASSER, passer_code())
        self.blocks = [Recorded(1, T0)]

    @property
    def count(self):
        """Transactions so far."""
        return sum(len(block.sent) for block in self.blocks)

    def begin_block(self, timestamp):
        """End the present block; a jump has an empty block in the second before, because eth-tester's have one."""
        for time in sorted({timestamp, max(timestamp - 1, self.chain.time + 1)}):
            self.chain.set_time(time)
            self.blocks.append(Recorded(self.chain.block_number, time))

    def send(self, kind, who, to, data=b"", value=0, gas=600_000, type_=DYNAMIC_FEE, access_list=()):
        """Sign and execute."""
        fields = {
            "chainId": CHAIN_ID, "nonce": self.chain.nonce(PEOPLE[who]), "value": value, "gas": gas, "data": data,
        }  # fmt: skip
        if to is not None:
            fields["to"] = to_checksum_address(to)
        fields |= self._price(type_)
        if type_ != LEGACY:
            fields["type"] = type_
            fields["accessList"] = [
                {"address": to_checksum_address(a), "storageKeys": [f"0x{s:064x}" for s in slots]}
                for a, slots in access_list
            ]
        raw = bytes(Account.sign_transaction(fields, KEYS[who]).raw_transaction)
        receipt = self.chain.send_signed(raw)
        self.blocks[-1].sent.append(Sent(kind, raw, receipt, gas, value, data))
        return receipt

    def end(self):
        """End the last block."""
        self.chain.seal()
        return self

    def header(self, number):
        """Return the header of a block."""
        return self.chain.blocks.block(number).header

    def _price(self, type_):
        base = self.chain.base_fee
        if type_ in (LEGACY, ACCESS_LIST):
            return {"gasPrice": base + self.count % 3 * (base > 0)}
        return {"maxFeePerGas": 2 * base, "maxPriorityFeePerGas": self.count % 5 * (base > 0)}


@cache
def passer_code():
    """Return the code of the OP Stack's message passer."""
    return load("L2ToL1MessagePasser", OP_STACK).deployed_code


def storage_root(slots):
    """Return the root of a storage trie out of its words by slot; words of 0 are not in it."""
    import rlp
    from trie import HexaryTrie

    words = HexaryTrie({})
    for slot, value in slots.items():
        if value:
            words[keccak(slot.to_bytes(32, "big"))] = rlp.encode(value)
    return bytes(words.root_hash)
