"""Settlement files: where they lie, and what must hold before one is believed.

Rules decided here. The file of epoch n is `epoch-n.json` with its bills in `epoch-n.bills.jsonl`. Reading one
checks its form against `settlement.schema.json` and everything that it says twice: fees = parts = payees +
accounts, total = sum of the cumulative amounts, wei = gwei x 10^9, the payout root over its payees, and the
sidecar's hash. What needs the log to be checked is checked by the audit.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import InputError, Problem
from models.merkle import payout_leaf, payout_tree, verify_payout
from models.units import WEI_PER_GWEI
from reference_node.billing.hashes import keccak
from reference_node.billing.schemas import schema_problems

_SCHEMA = Path(__file__).with_name("settlement.schema.json")


def settlement_path(folder: Path, epoch: int) -> Path:
    """Return the name of an epoch's file."""
    return folder / f"epoch-{epoch:06d}.json"


def bills_name(epoch: int) -> str:
    """Return the name of an epoch's bills."""
    return f"epoch-{epoch:06d}.bills.jsonl"


@dataclass(frozen=True, slots=True)
class Settlement:
    """A settlement file.

    Parameters
    ----------
    path
        Where it lies.
    document
        Its JSON values.
    """

    path: Path
    document: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Settlement:
        """Read a settlement file and check all that can be checked without the log.

        Raises
        ------
        InputError
            With everything that does not hold.
        """
        try:
            data = path.read_bytes()
            document = json.loads(data)
        except (OSError, ValueError) as error:
            raise InputError([Problem(f"cannot be read: {error}", where=str(path))]) from error
        problems = schema_problems(document, _SCHEMA, path)
        if not problems:
            problems = [
                Problem(message, place, str(path)) for place, message in _contradictions(path, document)
            ]
        if problems:
            raise InputError(problems)
        settlement = cls(path, document)
        if settlement.encode() != data:
            raise InputError(
                [Problem("was written anew: the order of keys or the spaces differ", where=str(path))]
            )
        return settlement

    def encode(self) -> bytes:
        """Return the file's bytes; equal documents give the same bytes."""
        return (json.dumps(self.document, indent=1) + "\n").encode("ascii")

    @property
    def sha256(self) -> str:
        """Hash of the file, 64 hexadecimal digits."""
        return hashlib.sha256(self.encode()).hexdigest()

    @property
    def epoch(self) -> int:
        """Number, 1 for the first."""
        return int(self.document["epoch"])

    @property
    def log_size(self) -> int:
        """Records of the log up to the end of the epoch."""
        return int(self.document["log"]["size"])

    @property
    def log_root(self) -> bytes:
        """Root of the log at that size, 32 bytes."""
        return bytes.fromhex(self.document["log"]["root"][2:])

    @property
    def payout_root(self) -> bytes:
        """Root of the payout tree, 32 bytes; zeros where nobody is owed anything."""
        return bytes.fromhex(self.document["payout"]["root"][2:])

    @property
    def total_wei(self) -> int:
        """What all payees together have earned since the first epoch, wei."""
        return int(self.document["payout"]["total_wei"])

    @property
    def previous_wei(self) -> int:
        """The same at the end of the epoch before."""
        before = self.document["previous"]
        return int(before["total_wei"]) if before else 0

    @property
    def uri_hash(self) -> bytes:
        """Hash of the bills' file, 32 bytes."""
        return bytes.fromhex(self.document["bills"]["sha256"])

    @property
    def payees(self) -> list[dict[str, Any]]:
        """Payees with cumulative amounts and proofs."""
        return list(self.document["payees"])

    def payee(self, address: str) -> dict[str, Any]:
        """Return a payee's entry.

        Raises
        ------
        InputError
            If nothing was ever earned under the address.
        """
        for entry in self.payees:
            if entry["address"] == address.lower():
                return dict(entry)
        raise InputError(
            [Problem(f"{address} is none of the {len(self.payees)} payees", "payees", str(self.path))]
        )


def latest_settlement(folder: Path) -> Settlement | None:
    """Return the last epoch's settlement in a folder, or None; every epoch from 1 on must be there.

    Raises
    ------
    InputError
        If an epoch is missing or the last one does not hold.
    """
    paths = sorted(folder.glob("epoch-*.json"))
    for epoch, path in enumerate(paths, 1):
        if path != settlement_path(folder, epoch):
            raise InputError([Problem(f"expected epoch {epoch} next: a file is missing", where=str(path))])
    return Settlement.read(paths[-1]) if paths else None


def _contradictions(path: Path, document: dict[str, Any]) -> list[tuple[str, str]]:
    bills, payout, payees = document["bills"], document["payout"], document["payees"]
    fee, parts = int(bills["fee_gwei"]), sum(map(int, bills["parts_gwei"].values()))
    paid, kept = _sum(payees, "gwei"), _sum(document["accounts"], "gwei")
    cumulative = _sum(payees, "cumulative_gwei")
    before = int(document["previous"]["total_wei"]) if document["previous"] else 0
    found = [
        _same("bills.parts_gwei", parts, fee, "add up to {}; the fees are {}"),
        _same("payees", paid + kept, fee, "with the accounts get {}; the fees are {}"),
        _same("payout.epoch_gwei", int(payout["epoch_gwei"]), paid, "is {}; the payees get {}"),
        _same(
            "payout.total_gwei",
            int(payout["total_gwei"]),
            cumulative,
            "is {}; the payees' cumulative amounts add up to {}",
        ),
        _same(
            "payout.total_wei",
            int(payout["total_wei"]),
            cumulative * WEI_PER_GWEI,
            "is {}; the payees' cumulative amounts add up to {}",
        ),
        _same(
            "previous.total_wei",
            before + paid * WEI_PER_GWEI,
            int(payout["total_wei"]),
            "comes with the epoch to {}; the total is {}",
        ),
        _same(
            "bills.count",
            bills["count"],
            document["log"]["size"] - document["log"]["first"],
            "is {}; the log grew by {}",
        ),
        *_wei_mistakes(document),
        *_root_mistakes(document),
        _sidecar_mistake(path.parent / bills["file"], bills["sha256"]),
    ]
    return [problem for problem in found if problem is not None]


def _same(place: str, value: int, expected: int, message: str) -> tuple[str, str] | None:
    return None if value == expected else (place, message.format(value, expected))


def _sum(rows: list[dict[str, Any]], name: str) -> int:
    return sum(int(row[name]) for row in rows)


def _wei_mistakes(document: dict[str, Any]) -> list[tuple[str, str] | None]:
    rows = [(f"accounts.{i}", row["gwei"], row["wei"]) for i, row in enumerate(document["accounts"])]
    rows += [
        (f"payees.{i}", row["cumulative_gwei"], row["cumulative_wei"])
        for i, row in enumerate(document["payees"])
    ]
    message = "is {}; its gwei come to {}"
    return [_same(place, int(wei), int(gwei) * WEI_PER_GWEI, message) for place, gwei, wei in rows]


def _root_mistakes(document: dict[str, Any]) -> list[tuple[str, str] | None]:
    pairs = [(bytes.fromhex(row["address"][2:]), int(row["cumulative_wei"])) for row in document["payees"]]
    if len({address for address, _ in pairs}) != len(pairs):
        return [("payees", "name an address twice")]
    root = payout_tree(pairs, keccak).root if pairs else bytes(32)
    if "0x" + root.hex() != document["payout"]["root"]:
        return [("payout.root", f"is {document['payout']['root']}; the payees give 0x{root.hex()}")]
    wrong = []
    for i, (row, (address, wei)) in enumerate(zip(document["payees"], pairs, strict=True)):
        proof = [bytes.fromhex(node[2:]) for node in row["proof"]]
        if not verify_payout(root, payout_leaf(address, wei, keccak), proof, keccak):
            wrong.append((f"payees.{i}.proof", "does not lead to the root"))
    return list(wrong)


def _sidecar_mistake(path: Path, expected: str) -> tuple[str, str] | None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return ("bills.file", f"cannot be read: {error}")
    return None if found == expected else ("bills.sha256", f"is {expected}; {path.name} hashes to {found}")
