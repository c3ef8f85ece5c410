"""`olsim node settle`, `post` and `audit`: close an epoch, send it to the chain, check that it is right.

Rules decided here. Bad input leaves with exit code 2 like every command's; a chain that does not take an epoch,
and an audit that finds a fault, leave with 1 and one line that names the place.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.errors import InputError
from models.units import format_amount

if TYPE_CHECKING:
    from reference_node.billing.sender import Sender

Log = Annotated[Path, typer.Argument(help="Folder of the billing log.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
POSTER = "distributor.poster"
"""Account of `deployment.json` that posts unless another is named."""


def settle(
    log: Log,
    out: Annotated[Path, typer.Option(help="Folder of the settlement files, one pair per epoch.")],
    as_json: AsJson = False,
) -> None:
    """Close an epoch: settle what was billed since the last one; the node may keep running."""
    from reference_node.billing import close_epoch
    from reference_node.billing.reading import LogReader

    _check_log(log)
    found = close_epoch(LogReader(log), out)
    bills, payout = found.document["bills"], found.document["payout"]
    paid = sum(int(payee["gwei"]) > 0 for payee in found.payees)  # the others are carried from epochs before
    summary = {
        "settlement": str(found.path),
        "epoch": found.epoch,
        "bills": bills["count"],
        "fee_gwei": bills["fee_gwei"],
        "payees": paid,
        "payout_gwei": payout["epoch_gwei"],
        "log_root": found.document["log"]["root"],
        "payout_root": payout["root"],
    }
    fee, amount = (format_amount(int(gwei)) for gwei in (bills["fee_gwei"], payout["epoch_gwei"]))
    billed = f"epoch {found.epoch}, {_count(bills['count'], 'bill')}, {fee}"
    _write(summary if as_json else f"{found.path}: {billed}; {amount} to {_count(paid, 'payee')}\n")


def post(
    settlement: Annotated[Path, typer.Argument(help="Settlement file of the epoch.")],
    deployment: Annotated[Path, typer.Option(help="deployment.json of the chain.")],
    rpc: Annotated[str, typer.Option(help="Address of the chain's node, http://HOST:PORT.")],
    sender: Annotated[
        str,
        typer.Option("--from", help=f"Account that the chain's node holds; else {POSTER} of the deployment."),
    ] = "",
    key_file: Annotated[
        Path | None, typer.Option(help="File with the sender's private key, chmod 600; signs here.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Post an epoch's roots and money to the distributor; posting again sends nothing."""
    from reference_node.billing.post import PostingFailed, post_settlement
    from reference_node.billing.settlement_file import Settlement

    found = Settlement.read(settlement)
    try:
        posting = post_settlement(found, deployment, rpc, _sender(sender, key_file, deployment))
    except PostingFailed as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(1) from error
    value = format_amount(posting.value_wei, decimals=18)
    done = f"posted with {value} in block {posting.block}" if posting.transaction else "the contract has it"
    _write(asdict(posting) if as_json else f"epoch {posting.epoch}: {done}\n")


def audit(
    log: Log,
    settlement: Annotated[
        Path | None, typer.Option(help="Check this settlement file against the log.")
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Segments that are checked side by side; one per core by default."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compute everything in a billing log again; exit 1 and the place of the first fault if it does not hold."""
    from reference_node.billing.audit import audit as run

    for path in (log, settlement):
        if path is not None and not path.exists():
            raise InputError(f"{path}: there is no such file or folder")
    _check_log(log)
    try:
        report = run(log, settlement, processes=processes or os.cpu_count() or 1)
    except InputError as error:
        problem = error.problems[0]
        fault = {"ok": False, "where": problem.where, "field": problem.path, "fault": problem.message}
        _write(fault if as_json else f"FAULT {problem}\n")
        raise typer.Exit(1) from error
    _write({"ok": True, **asdict(report)} if as_json else _report(report))


def _check_log(folder: Path) -> None:
    """Refuse a folder that no node ever logged into: an audit of nothing would call it whole."""
    from reference_node.billing.segments import segment_files

    if folder.is_dir() and not segment_files(folder) and not (folder / ".lock").exists():
        near = folder / "log"
        hint = f"; did you mean {near}?" if near.is_dir() else "; a node keeps it in DATA/log"
        raise InputError(f"{folder} holds no billing log{hint}")


def _sender(named: str, key_file: Path | None, deployment: Path) -> Sender:
    from reference_node.billing.distributor import Deployment
    from reference_node.billing.sender import Sender

    if named and key_file:
        raise InputError("--from and --key-file are both given; the key file says who sends")
    if key_file:
        return Sender.from_key_file(key_file)
    account = named or Deployment.read(deployment).accounts.get(POSTER, "")
    if not account:
        raise InputError(f"nobody to send: {deployment} names no account {POSTER}; give --from or --key-file")
    return Sender.unlocked(account)


def _report(report: Any) -> str:
    lines = [
        f"whole: {_count(report.records, 'record')}, root {report.root}",
        f"tokens: {report.tokens_in} in ({report.cached_tokens} cached), {report.tokens_out} out",
        f"fees: {format_amount(report.fee_gwei)} = "
        + " + ".join(f"{name} {format_amount(gwei)}" for name, gwei in report.parts.items()),
    ]
    if report.epoch is not None:
        lines.append(f"epoch {report.epoch} follows from the log")
    if report.without_operations:
        lines.append(f"without an operations line: {_count(report.without_operations, 'record')}")
    if report.torn:
        lines.append(f"note: {report.torn}")
    return "\n".join(lines) + "\n"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _write(result: dict[str, Any] | str) -> None:
    sys.stdout.write(result if isinstance(result, str) else json.dumps(result) + "\n")
