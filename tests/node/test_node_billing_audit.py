"""The audit and the commands: a whole log passes, and any forged figure is named with its place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("cbor2", reason="needs the node extra (cbor2)")
pytest.importorskip("web3", reason="needs the dev extra (web3, eth-tester)")

from models.errors import InputError
from reference_node.billing import close_epoch
from reference_node.billing.audit import audit
from reference_node.billing.batch import _payees
from reference_node.billing.segments import segment_files
from reference_node.billing.settlement_file import Settlement
from reference_node.commands import settle as commands
from tests.node.billing_world import OWNER, filled_log, mixed_requests, request
from tests.node.devnet import Devnet

pytestmark = pytest.mark.node

app = typer.Typer()
for command in (commands.settle, commands.post, commands.audit):
    app.command()(command)
run = CliRunner().invoke


@pytest.fixture
def world(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A log with two settled epochs and three records after them: log folder, first and second settlement."""
    log = filled_log(tmp_path / "log", segment_bytes=2000)
    first = close_epoch(log, tmp_path / "out").path
    for served in mixed_requests(9, first=50):
        log.append(served)
    second = close_epoch(log, tmp_path / "out").path
    for served in mixed_requests(3, first=90):
        log.append(served)
    log.close()
    return tmp_path / "log", first, second


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a settlement and write it as the node would."""
    document = json.loads(path.read_text())
    change(document)
    path.write_bytes(Settlement(path, document).encode())


def test_a_whole_log_and_its_settlements_pass(world: tuple[Path, Path, Path]) -> None:
    log, first, second = world
    report = audit(log)
    assert (report.records, report.without_operations, report.torn, report.epoch) == (24, 0, "", None)
    assert sum(report.parts.values()) == report.fee_gwei
    assert [audit(log, path).epoch for path in (first, second)] == [1, 2]


def test_a_settlement_passes_without_the_one_before(world: tuple[Path, Path, Path]) -> None:
    log, first, second = world
    first.unlink()
    assert audit(log, second).epoch == 2


def test_a_flipped_byte_is_named_by_segment_and_offset(world: tuple[Path, Path, Path]) -> None:
    log, _, _ = world
    path = segment_files(log)[1]
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    result = run(app, ["audit", str(log)])
    assert result.exit_code == 1
    assert result.stdout.startswith(f"FAULT {path}:40: frame: a bit of this byte was flipped")
    data[60] ^= 3
    path.write_bytes(data)
    result = run(app, ["audit", str(log)])
    assert result.stdout.startswith(f"FAULT {path}:0: frame: length or checksum is wrong")


def steal(document: dict[str, Any]) -> None:
    """Move a payee's money to somebody else and make the whole file agree with itself."""
    payees = document["payees"]
    victim = next(p for p in payees if p["address"] == OWNER)
    victim["address"] = "0x" + "9" * 40
    cumulative = {p["address"]: int(p["cumulative_gwei"]) for p in payees}
    root, rows = _payees(cumulative, {p["address"]: int(p["gwei"]) for p in payees})
    document["payout"]["root"], document["payees"] = "0x" + root.hex(), rows


def forget_the_past(document: dict[str, Any]) -> None:
    document["previous"]["log_root"] = "0x" + "7" * 64


def shorten_the_period(document: dict[str, Any]) -> None:
    document["period_ms"]["last"] -= 1


def count_fewer_tokens(document: dict[str, Any]) -> None:
    document["bills"]["tokens_in"] -= 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (steal, "payees.0.address"),
        (forget_the_past, "previous.log_root"),
        (shorten_the_period, "period_ms.last"),
        (count_fewer_tokens, "bills.tokens_in"),
    ],
)
def test_a_forged_settlement_is_named_by_its_field(
    world: tuple[Path, Path, Path], change: Callable[[dict[str, Any]], None], field: str
) -> None:
    log, _, second = world
    rewrite(second, change)
    Settlement.read(second)  # agrees with itself
    with pytest.raises(InputError) as refused:
        audit(log, second)
    problem = refused.value.problems[0]
    assert problem.where == str(second)
    assert problem.path.split(".")[0] == field.split(".")[0]
    assert "; the log gives" in problem.message


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        (b'"fee_gwei":"', b'"fee_gwei":"1', "fee_gwei"),
        (b'{"cached', b'{ "cached', ""),
        (b"{", b"", "cached_tokens"),
    ],
)
def test_a_forged_bill_is_named_by_its_line(
    world: tuple[Path, Path, Path], old: bytes, new: bytes, field: str
) -> None:
    log, first, _ = world
    bills = first.with_name("epoch-000001.bills.jsonl")
    lines = bills.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(old, new, 1)
    bills.write_bytes(b"".join(lines))
    with pytest.raises(InputError, match=r"epoch-000001.bills.jsonl hashes to"):
        audit(log, first)
    digest = hashlib.sha256(bills.read_bytes()).hexdigest()
    rewrite(first, lambda document: document["bills"].update(sha256=digest))
    with pytest.raises(InputError) as refused:
        audit(log, first)
    problem = refused.value.problems[0]
    assert (problem.where, problem.path) == (f"{bills}:5", field)


def test_a_log_that_lost_records_does_not_carry_its_settlement(world: tuple[Path, Path, Path]) -> None:
    log, _, second = world
    for path in segment_files(log)[2:]:
        path.unlink()
    with pytest.raises(InputError, match="is 21; the log has"):
        audit(log, second)


def test_operations_that_contradict_the_log_are_a_fault_and_missing_ones_are_not(
    world: tuple[Path, Path, Path],
) -> None:
    log, _, _ = world
    path = sorted(log.glob("operations-*.jsonl"))[0]
    text = path.read_text()
    path.write_text(text.replace('"completion_tokens": 20', '"completion_tokens": 2', 1))
    with pytest.raises(InputError, match="is 2; the record at") as refused:
        audit(log)
    assert (refused.value.problems[0].where, refused.value.problems[0].path) == (
        f"{path}:1",
        "completion_tokens",
    )
    path.unlink()
    assert audit(log).without_operations == len(text.splitlines())


def test_a_torn_tail_is_told(world: tuple[Path, Path, Path]) -> None:
    log, _, second = world
    path = segment_files(log)[-1]
    path.write_bytes(path.read_bytes()[:-5])
    report = audit(log, second)
    assert report.records == 23
    assert "a crash left incomplete" in report.torn


def test_settle_counts_those_whom_the_epoch_paid(tmp_path: Path) -> None:
    log, out = filled_log(tmp_path / "log"), str(tmp_path / "out")
    first = json.loads(run(app, ["settle", str(log.folder), "--out", out, "--json"]).stdout)
    log.append(request(90))  # the base: all goes to the fallback
    log.close()
    text = run(app, ["settle", str(log.folder), "--out", out]).stdout
    assert first["payees"] > 1
    assert "epoch 2, 1 bill, " in text
    assert text.endswith(" OPEN to 1 payee\n")


def test_a_settlement_that_contradicts_itself_is_told_in_whole_sentences(
    world: tuple[Path, Path, Path],
) -> None:
    _, first, _ = world
    rewrite(first, lambda document: document["bills"].update(fee_gwei="7"))
    with pytest.raises(
        InputError, match=r"bills.parts_gwei: add up to \d+; the fees are 7\n.*; the fees are 7$"
    ):
        Settlement.read(first)


def test_commands_from_log_to_chain(tmp_path: Path) -> None:
    filled_log(tmp_path / "log").close()
    log, out = str(tmp_path / "log"), str(tmp_path / "out")
    summary = json.loads(run(app, ["settle", log, "--out", out, "--json"]).stdout)
    assert summary["bills"] == 12
    assert run(app, ["settle", log, "--out", out]).stdout.startswith(
        f"{summary['settlement']}: epoch 1, 12 bills, 0.0"
    )
    devnet = Devnet()
    try:
        deployment = str(devnet.deployment(tmp_path / "deployment.json"))
        arguments = ["post", summary["settlement"], "--deployment", deployment, "--rpc", devnet.url]
        posted = json.loads(run(app, [*arguments, "--json"]).stdout)
        assert posted["value_wei"] == int(summary["payout_gwei"]) * 10**9
        assert run(app, arguments).stdout == "epoch 1: the contract has it\n"
        wrong = run(app, [*arguments, "--from", "0x12"])
        assert isinstance(wrong.exception, InputError)
    finally:
        devnet.close()
    unreachable = run(app, arguments)
    assert unreachable.exit_code == 1
    assert "gave no answer" in unreachable.stderr
    audited = run(app, ["audit", log, "--settlement", summary["settlement"]])
    assert audited.exit_code == 0
    assert "epoch 1 follows from the log" in audited.stdout
    assert json.loads(run(app, ["audit", log, "--json"]).stdout)["ok"] is True
    missing = run(app, ["audit", str(tmp_path / "nowhere")])
    assert isinstance(missing.exception, InputError)


@pytest.mark.parametrize("command", ["audit", "settle"])
def test_a_folder_that_is_no_log_is_not_called_whole(tmp_path: Path, command: str) -> None:
    """The data folder in place of the log in it: what holds no record at all would pass every check."""
    more = ["--out", str(tmp_path / "out")] if command == "settle" else []
    filled_log(tmp_path / "data" / "log").close()
    near = run(app, [command, str(tmp_path / "data"), *more])
    assert isinstance(near.exception, InputError)
    assert str(near.exception).endswith(f"holds no billing log; did you mean {tmp_path / 'data' / 'log'}?")
    (tmp_path / "empty").mkdir()
    assert "a node keeps it in DATA/log" in str(run(app, [command, str(tmp_path / "empty"), *more]).exception)
    assert not (tmp_path / "out").exists()
