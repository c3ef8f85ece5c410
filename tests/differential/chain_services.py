"""Drawn calls of staking, fees, registry and anchor, and votes and allowances given by signature."""

from __future__ import annotations

from eth_account import Account

from sim.chain.addresses import hex_address, keccak
from tests.differential.chain_recording import CHAIN_ID, COIN, KEYS, PEOPLE
from tests.differential.chain_scene import DAY, Scene

GWEI = 10**9
ROUND = (GWEI, COIN, 40 * COIN)


class Services(Scene):
    """Actions on the contracts that serve the economy."""

    def __init__(self, seed, base_fee):
        super().__init__(seed, base_fee)
        self.exits = self.disputes = 0
        self.entries, self.offered = [], {}
        self.head, self.size = bytes(32), 0

    @property
    def round_amount(self):
        """Draw whole units, seldom a wei more, which is refused."""
        return self.draw.choice(ROUND) + (self.draw.random() < 0.1)

    def sign(self):
        """Let somebody send a delegation that another one has signed, perhaps too late or twice."""
        owner, to = self.who, PEOPLE[self.who]
        nonce = self.read("GOPEN", "nonces", PEOPLE[owner]) - self.draw.choice(
            (0, 0, 0, 1) if owner else (0,)
        )
        message = {"delegatee": hex_address(to), "nonce": max(nonce, 0), "expiry": self._deadline()}
        fields = [("delegatee", "address"), ("nonce", "uint256"), ("expiry", "uint256")]
        signed = self._signed(owner, "Delegation", fields, message)
        self.call(self.who, "GOPEN", "delegateBySig", to, message["nonce"], message["expiry"], *signed)

    def permit(self):
        owner, spender, value = self.who, PEOPLE[self.who], self.draw.choice(ROUND)
        message = {
            "owner": hex_address(PEOPLE[owner]), "spender": hex_address(spender), "value": value,
            "nonce": self.read("GOPEN", "nonces", PEOPLE[owner]), "deadline": self._deadline(),
        }  # fmt: skip
        fields = [(name, "address" if name in ("owner", "spender") else "uint256") for name in message]
        signed = self._signed(owner, "Permit", fields, message)
        sent = value + (self.draw.random() < 0.2)
        self.call(self.who, "GOPEN", "permit", PEOPLE[owner], spender, sent, message["deadline"], *signed)

    def _deadline(self):
        return self.recorder.chain.time + self.draw.choice((DAY, DAY, DAY, -1))

    def _signed(self, who, name, fields, message):
        domain = {
            "name": self.read("GOPEN", "name"), "version": "1", "chainId": CHAIN_ID,
            "verifyingContract": hex_address(self.contracts["GOPEN"]),
        }  # fmt: skip
        types = {name: [{"name": field, "type": type_} for field, type_ in fields]}
        signed = Account.sign_typed_data(KEYS[who], domain, types, message)
        return signed.v, signed.r.to_bytes(32, "big"), signed.s.to_bytes(32, "big")

    def stake(self):
        lock = self.draw.choice((0, 0, 1, 2))
        self.call(self.who, "Staking", "stake", min(lock, 1), value=self.round_amount, **self.options)

    def unbond(self):
        receipt = self.call(self.who, "Staking", "unbond", self.draw.randrange(2), self.round_amount)
        self.exits += receipt.status

    def take_stake(self):
        self.call(self.who, "Staking", "withdraw", self.draw.randrange(self.exits + 1))

    def reward(self):
        """Fill the pot, or pay out of it."""
        if self.draw.random() < 0.4:
            self.recorder.send("fill", self.who, self.contracts["Staking"], b"", self.draw.choice(ROUND))
        else:
            who = self.draw.choice((0, 0, 0, self.who))
            self.call(who, "Staking", "distribute", self.draw.choice(ROUND), gas=1_500_000)

    def accuse(self):
        accused, offence = PEOPLE[self.who], keccak(bytes([self.draw.randrange(20)]))
        kind = self.draw.choice(("slash", "open", "decide"))
        if kind == "slash":
            self.call(self.draw.choice((0, 0, self.who)), "Staking", "slash", accused, offence)
        elif kind == "open":
            receipt = self.call(self.who, "Staking", "openDispute", accused, offence, value=self.round_amount)
            self.disputes += receipt.status
        else:
            number, upheld = self.draw.randrange(self.disputes + 1), self.draw.random() < 0.5
            self.call(self.draw.choice((1, 1, self.who)), "Staking", "decide", number, upheld)

    def pay_bill(self):
        adapter, bill = keccak(bytes([self.draw.randrange(9)])), self.draw.randbytes(32)
        self.call(self.who, "FeeSplitter", "pay", adapter, bill, value=self.round_amount, **self.options)

    def settle_bills(self):
        """Settle some bills of one amount as the contract quotes it, seldom with a unit moved."""
        day = self.recorder.chain.time // DAY
        fee, bills = self.draw.choice(ROUND), self.draw.randrange(1, 5)
        parts = [bills * part for part in self.read("FeeSplitter", "quote", day, fee)]
        moved = min(GWEI * bills, parts[4]) * (self.draw.random() < 0.3)
        parts[0], parts[4] = parts[0] + moved, parts[4] - moved
        asked = self.draw.choice((0, GWEI, COIN))
        settlement = (day, bills, sum(parts), tuple(parts), asked)
        who = self.draw.choice((0, 0, 0, self.who))
        self.call(who, "FeeSplitter", "settle", settlement, value=bills * fee)

    def register(self):
        kind, name = self.draw.randrange(3), f"entry {self.draw.randrange(30)}"
        nets = [entry for entry, kind_, _ in self.entries if kind_ == 0]
        trained_on = self.draw.sample(nets, min(len(nets), self.draw.randrange(3))) if kind else []
        who = self.who
        receipt = self.call(who, "Registry", "register", kind, name, self.draw.randbytes(32), trained_on)
        if receipt.status:
            self.entries.append((receipt.logs[0].topics[1], kind, who))

    def change_entry(self):
        if not self.entries:
            return self.register()
        entry, _, owner = self.draw.choice(self.entries[:4])
        to = self.who
        changes = {
            "publish": (self.draw.randbytes(32), []), "rollBack": (1,), "deprecate": (self.draw.randrange(1, 9),),
            "transferOwnership": (PEOPLE[to],), "acceptOwnership": (),
        }  # fmt: skip
        function = self.draw.choice(("publish", *sorted(changes)))
        who = self.offered.get(entry, owner) if function == "acceptOwnership" else owner
        who = self.draw.choice((who, who, who, self.who))
        done = self.call(who, "Registry", function, entry, *changes[function])
        if done.status and function == "transferOwnership":
            self.offered[entry] = to
        elif done.status and function == "acceptOwnership":
            self.entries = [(e, k, who if e == entry else o) for e, k, o in self.entries]
        return done

    def anchor(self):
        root, size = self.draw.randbytes(32), self.size + self.draw.randrange(3)
        before = self.draw.choice((self.head, self.head, self.head, bytes(32)))
        if self.call(self.draw.choice((0, 0, self.who)), "LogAnchor", "anchor", root, size, before).status:
            self.head, self.size = root, size
