"""What a drawn sequence begins with: every contract, some programs, and people with coins, tokens and votes."""

from __future__ import annotations

import random

from sim.chain.addresses import keccak
from sim.chain.artifacts import load
from sim.chain.message import ACCESS_LIST, DYNAMIC_FEE, LEGACY
from tests.differential.chain_programs import LOOSE
from tests.differential.chain_recording import COIN, PEOPLE, T0, Recorder

DELAY, PERIOD, TIMELOCK = 100, 900, 60
TYPES = (LEGACY, ACCESS_LIST, DYNAMIC_FEE, DYNAMIC_FEE)
AMOUNTS = (0, 1, COIN, 3 * COIN, 500 * COIN)
DAY = 86_400
PARAMETERS = {
    "fees.split": [2, 2, 5], "fees.platform": [1_000, 7], "fees.burn": [100], "staking.locks.flexible": [60],
    "staking.locks.long": [5_000], "attribution.slash.duplicate": [1_500],
}  # fmt: skip


class Scene:
    """The contracts, the people, and what is drawn of every transaction.

    Parameters
    ----------
    seed
        Of the draws.
    base_fee
        Of the genesis, wei per gas.
    """

    def __init__(self, seed, base_fee=0):
        self.draw = random.Random(seed)
        self.recorder = Recorder(base_fee)
        self.contracts, self.abis = {}, {}
        self._deploy_all()

    def jump(self, seconds):
        self.recorder.begin_block(self.recorder.chain.time + seconds)

    # what is deployed

    def _deploy_all(self):
        first = PEOPLE[0]
        gopen = self._create("GOPEN")
        timelock = self._create("Timelock", TIMELOCK, [], [], first)
        governor = self._create("OpenGovernor", gopen, timelock, DELAY, PERIOD, 10 * COIN, 50_000)
        for role in ("PROPOSER_ROLE", "EXECUTOR_ROLE", "CANCELLER_ROLE"):
            self.call(0, "Timelock", "grantRole", keccak(role.encode()), governor)
        self.call(0, "Timelock", "renounceRole", bytes(32), first)
        self.jump(12)
        self._create("AttributionDistributor", timelock, first)
        names, values = list(PARAMETERS), list(PARAMETERS.values())
        parameters = self._create("Parameters", timelock, names, values, [0] * len(names))
        token = self._create("OPEN", "OpenLedger", "OPEN", 10**27, first)
        dates = [T0 + 3_000 * i for i in range(1, 49)]
        table = (T0, dates, list(range(1, 49)), 48)
        vesting = self._create("TrancheVesting", token, PEOPLE[3], 10**24, 10**23, 10**9, *table)
        self.call(0, "OPEN", "transfer", vesting, 10**24)
        officers = (first, first, PEOPLE[1])
        staking = self._create(
            "Staking", timelock, officers, parameters, timelock, 10**9, 10**9, 3_000, 2_000
        )
        payees = (PEOPLE[4], timelock, PEOPLE[5], staking)
        self._create("FeeSplitter", timelock, first, parameters, 10**9, payees)
        self._create("Registry")
        self._create("LogAnchor", timelock, first)
        self.jump(1)
        for name, program in LOOSE.items():
            self.contracts[name] = self.recorder.send("deploy", 1, None, program).contract_address
        for who, person in enumerate(PEOPLE):
            self.call(who, "GOPEN", "deposit", value=1_000 * COIN)
            self.call(who, "GOPEN", "delegate", person)
            self.call(0, "OPEN", "transfer", person, 10**24)
            self.jump(1)
        self.jump(DAY)  # a day's bills are split by what was set the day before

    def _create(self, name, *arguments):
        artifact = load(name)
        code = artifact.creation_code + artifact.abi.encode_constructor(*arguments)
        receipt = self.recorder.send("deploy", 0, None, code, gas=6_000_000)
        assert receipt.status == 1, name
        self.abis[name] = artifact.abi
        self.contracts[name] = receipt.contract_address
        return receipt.contract_address

    def call(self, who, name, function, *arguments, value=0, **options):
        data = self.abis[name].encode_call(function, *arguments)
        return self.recorder.send(f"{name}.{function}", who, self.contracts[name], data, value, **options)

    def read(self, name, function, *arguments):
        result = self.recorder.chain.call(
            self.contracts[name], self.abis[name].encode_call(function, *arguments)
        )
        return self.abis[name].decode_output(function, result.output)

    @property
    def who(self):
        return self.draw.randrange(len(PEOPLE))

    @property
    def amount(self):
        return self.draw.choice(AMOUNTS)

    @property
    def envelope(self):
        """Draw a type, and addresses and slots said beforehand."""
        type_ = self.draw.choice(TYPES)
        named = self.draw.sample(sorted(self.contracts.values()), 2) if self.draw.random() < 0.3 else []
        return {
            "type_": type_,
            "access_list": [(a, (self.draw.randrange(12),)) for a in named] if type_ else (),
        }

    @property
    def options(self):
        """Draw an envelope, seldom with too little gas."""
        scant = {"gas": self.draw.randrange(30_000, 110_000)} if self.draw.random() < 0.06 else {}
        return self.envelope | scant
