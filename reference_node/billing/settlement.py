"""Settlement: what an epoch's bills come to, as one file that a chain executes and anybody can check.

Rules decided here. An epoch is all records since the epoch before, up to the moment of closing; without new
records there is no new epoch, so closing twice gives the same file, and the file depends on the log alone, never
on the clock. The bills themselves lie beside the file, one JSON line each, written first. A log that does not
hold what the last epoch settled is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any

from models.errors import InputError, Problem
from models.merkle import log_root
from reference_node.access.files import locked, replacing, write_atomic
from reference_node.billing.batch import EpochSums, bill_line, previous_document, settlement_document
from reference_node.billing.hashes import sha256
from reference_node.billing.log import BillingLog
from reference_node.billing.reading import LogReader
from reference_node.billing.settlement_file import Settlement, bills_name, latest_settlement, settlement_path


def close_epoch(log: BillingLog | LogReader, folder: Path) -> Settlement:
    """Settle everything that was billed since the last epoch in `folder`.

    Parameters
    ----------
    log
        The log, or a reader of it while another process writes it.
    folder
        Where settlement files lie, one pair per epoch.

    Returns
    -------
    Settlement
        The new epoch's; the last one's where no record came since.

    Raises
    ------
    InputError
        If nothing was ever billed, the log is damaged, or it is not the one that the last epoch settled.
    """
    if isinstance(log, BillingLog):
        log.sync()
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        previous = latest_settlement(folder)
        epoch = previous.epoch + 1 if previous else 1
        sums = EpochSums(previous.log_size if previous else 0)
        lines = _bill_lines(LogReader(log.folder), sums)
        first_line = next(lines, None)  # reads all that is settled already
        if first_line is None:
            _check_extends(sums, previous, log.folder)
            assert previous is not None, "an empty log is refused"
            return previous
        with replacing(folder / bills_name(epoch)) as file:
            digest = _written(chain([first_line], lines), file)
            _check_extends(sums, previous, log.folder)
        document = settlement_document(epoch, sums, _cumulative(previous), _named(previous), digest)
        settlement = Settlement(settlement_path(folder, epoch), document)
        write_atomic(settlement.path, settlement.encode())
    return settlement


def _bill_lines(reader: LogReader, sums: EpochSums) -> Iterator[bytes]:
    """Yield the sidecar's lines of the epoch that `sums` begins, adding up on the way."""
    for billed in reader.bills(sums.first):
        sums.grow(billed.entry)
        if billed.bill is not None:
            sums.add(billed)
            yield bill_line(billed)


def _written(lines: Iterable[bytes], file: IO[bytes]) -> str:
    """Write lines and return the hash of them all."""
    digest = hashlib.sha256()
    for line in lines:
        file.write(line)
        digest.update(line)
    return digest.hexdigest()


def _cumulative(previous: Settlement | None) -> dict[str, int]:
    payees = previous.payees if previous else []
    return {payee["address"]: int(payee["cumulative_gwei"]) for payee in payees}


def _named(previous: Settlement | None) -> dict[str, Any] | None:
    if previous is None:
        return None
    return previous_document(
        previous.epoch,
        previous.sha256,
        previous.log_size,
        previous.log_root,
        previous.payout_root,
        previous.total_wei,
    )


def _check_extends(sums: EpochSums, previous: Settlement | None, log: Path) -> None:
    """Refuse a log that does not hold what the last epoch settled."""
    if previous is None:
        if not sums.size:
            raise InputError([Problem("the log holds no record; there is nothing to settle", where=str(log))])
        return
    found = log_root(sums.leaves[: sums.first], sha256)
    if sums.size < sums.first or found != previous.log_root:
        message = (
            f"{previous.path} settled {sums.first} records with the root {previous.log_root.hex()}; "
            f"this log has {sums.size}, and up to there the root {found.hex()}"
        )
        raise InputError([Problem(message, where=str(log))])
