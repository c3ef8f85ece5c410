"""AttributionDistributor as the node sees it: one call, one event, one view, by the ABI of `deployment.json`.

Rule decided here: the node knows the contract's interface by these signatures alone; a deployment whose ABI lacks
one of them is refused before anything is sent. All arguments are static words of 32 bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import InputError, Problem
from reference_node.billing.hashes import address, keccak
from reference_node.billing.schemas import schema_problems
from reference_node.billing.settlement_file import Settlement

CONTRACT = "AttributionDistributor"
LOG_ANCHOR = "LogAnchor"
POST = "postEpoch(uint64,bytes32,uint64,bytes32,uint256,bytes32)"
POSTED = "EpochPosted(uint64,bytes32,bytes32,uint64,uint256,bytes32)"
LATEST = "latest()"

_SCHEMA = Path(__file__).with_name("deployment.schema.json")


@dataclass(frozen=True, slots=True)
class Deployment:
    """What `deployment.json` names.

    Parameters
    ----------
    chain_id
        Of the chain that the contracts are on.
    distributor
        Address, lower case.
    errors
        Selector of each custom error of the contract -> (name, types).
    accounts
        Names -> addresses.
    log_anchor
        Address of the contract with the log's heads, lower case; "" where there is none.
    """

    chain_id: int
    distributor: str
    errors: dict[bytes, tuple[str, tuple[str, ...]]]
    accounts: dict[str, str]
    log_anchor: str

    @classmethod
    def read(cls, path: Path) -> Deployment:
        """Read and check a deployment file.

        Raises
        ------
        InputError
            With everything that is wrong with it.
        """
        try:
            document = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise InputError([Problem(f"cannot be read: {error}", where=str(path))]) from error
        problems = schema_problems(document, _SCHEMA, path)
        if problems:
            raise InputError(problems)
        contract = document["contracts"][CONTRACT]
        known = {_signature(entry) for entry in contract["abi"] if "name" in entry}
        place = f"contracts.{CONTRACT}"
        problems = [
            Problem(f"has no {needed}; is it another contract?", f"{place}.abi", str(path))
            for needed in (POST, POSTED, LATEST)
            if needed not in known
        ]
        try:
            found = address(contract["address"])
        except ValueError as error:
            problems.append(Problem(str(error), f"{place}.address", str(path)))
        if problems:
            raise InputError(problems)
        accounts = {name: text.lower() for name, text in document.get("accounts", {}).items()}
        anchor = document["contracts"].get(LOG_ANCHOR, {}).get("address", "").lower()
        return cls(document["chain_id"], found, _errors(contract["abi"]), accounts, anchor)

    def explain(self, revert: bytes) -> str:
        """Return a revert in words: the contract's custom error with its values, or its raw bytes."""
        name, types = self.errors.get(revert[:4], ("", ()))
        if not name or len(revert) != 4 + 32 * len(types):
            return f"reverted with 0x{revert.hex()}" if revert else "reverted without a reason"
        words = [revert[i : i + 32] for i in range(4, len(revert), 32)]
        return f"{name}({', '.join(_word_text(w, kind) for w, kind in zip(words, types, strict=True))})"


@dataclass(frozen=True, slots=True)
class OnChain:
    """What the contract says of its latest epoch, in the order of its struct."""

    number: int
    log_size: int
    log_root: bytes
    payout_root: bytes
    uri_hash: bytes
    total_wei: int

    @classmethod
    def decode(cls, data: bytes) -> OnChain:
        """Return the struct that `latest()` answered.

        Raises
        ------
        ValueError
            If the answer is not six words.
        """
        if len(data) != 6 * 32:
            raise ValueError(f"latest() answered {len(data)} bytes; expected 192")
        words = [data[i : i + 32] for i in range(0, len(data), 32)]
        number, size, total = (int.from_bytes(words[i], "big") for i in (0, 1, 5))
        return cls(number, size, words[2], words[3], words[4], total)

    @classmethod
    def of(cls, settlement: Settlement) -> OnChain:
        """Return what the contract says once a settlement is posted."""
        return cls(
            settlement.epoch,
            settlement.log_size,
            settlement.log_root,
            settlement.payout_root,
            settlement.uri_hash,
            settlement.total_wei,
        )

    def call_data(self) -> bytes:
        """Return the call of `postEpoch`."""
        return selector(POST) + _words(
            self.number, self.log_root, self.log_size, self.payout_root, self.total_wei, self.uri_hash
        )

    def is_in(self, log: dict[str, Any], contract: str) -> bool:
        """Return whether a receipt's log is the event that posting this emits."""
        topics = [keccak(POSTED.encode()), _words(self.number), self.payout_root]
        data = _words(self.log_root, self.log_size, self.total_wei, self.uri_hash)
        return (
            log["address"].lower() == contract
            and [bytes.fromhex(topic[2:]) for topic in log["topics"]] == topics
            and bytes.fromhex(log["data"][2:]) == data
        )


def selector(signature: str) -> bytes:
    """Return the first 4 bytes of a signature's hash."""
    return keccak(signature.encode())[:4]


def _signature(entry: dict[str, Any]) -> str:
    return f"{entry['name']}({','.join(one['type'] for one in entry.get('inputs', ()))})"


def _errors(abi: list[dict[str, Any]]) -> dict[bytes, tuple[str, tuple[str, ...]]]:
    return {
        selector(_signature(entry)): (entry["name"], tuple(one["type"] for one in entry["inputs"]))
        for entry in abi
        if entry["type"] == "error"
    }


def _words(*values: int | bytes) -> bytes:
    return b"".join(v.to_bytes(32, "big") if isinstance(v, int) else v.rjust(32, b"\0") for v in values)


def _word_text(word: bytes, kind: str) -> str:
    if kind == "address":
        return "0x" + word[-20:].hex()
    return str(int.from_bytes(word, "big")) if kind.startswith("uint") else "0x" + word.hex()
