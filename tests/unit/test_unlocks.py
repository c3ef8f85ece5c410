"""`olsim unlocks`: any token's file, exact answers, and no clock."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from models.errors import InputError
from sim.commands.unlocks import unlocks
from sim.scenario import load_token
from sim.unlocks import unlocks_of

APP = typer.Typer()
APP.command()(unlocks)
GOLDEN = Path(__file__).parents[1] / "golden" / "unlocks_abc.json"

OPEN = """\
name: reading A
start: 2025-09-08
token:
  cap: 1_000_000_000 OPEN
  buckets:
    community: {share: 51.71 %, tge: 145_500_000 OPEN, linear: 48 months}
    ecosystem: {share: 10.00 %, tge: 20_000_000 OPEN, linear: 48 months}
    liquidity: {share: 5.00 %, tge: 50_000_000 OPEN}
    investors: {share: 18.29 %, tge: 0 OPEN, cliff: 12 months, linear: 36 months, catch_up: false}
    team:      {share: 15.00 %, tge: 0 OPEN, cliff: 12 months, linear: 36 months, catch_up: false}
"""
ABC = """\
name: abc
start: 2026-01-31
token:
  symbol: ABC
  ledger_decimals: 8
  cap: 10_000_000_000 ABC
  buckets:
    people: {share: 60 %, tge: 1_000_000 ABC, steps: [{months: 1..2, part: 1/4}, {months: 3, part: 3/4}]}
    team: {share: 30 %, cliff: 2 months, linear: 3 months, catch_up: true}
    chest: {share: 10 %, linear: 2 months, every: day, start: 2026-03-01}
"""


def invoke(folder: Path, text: str, *options: str):
    file = folder / "token.yaml"
    file.write_text(text, encoding="utf-8")
    return CliRunner().invoke(APP, [str(file), *options], catch_exceptions=False)


def answer(folder: Path, text: str, *options: str) -> dict:
    result = invoke(folder, text, "--json", *options)
    assert result.exit_code == 0
    return json.loads(result.stdout)


def test_the_calendar_of_open_is_the_golden_one(tmp_path):
    got = answer(tmp_path, OPEN)
    months = {row["month"]: row["unlocked_units"] for row in got["calendar"]}
    assert months[0] == 215_500_000_000_000_000
    assert months[1] == 224_908_333_333_333_332
    assert months[13] == 347_055_555_555_555_553
    assert months[48] == 10**18
    assert max(months) == 48
    assert all(row["unlocks_units"] == sum(row["by_bucket_units"].values()) for row in got["calendar"])


def test_a_date_before_the_insiders_first_instalment(tmp_path):
    got = answer(tmp_path, OPEN, "--at", "2026-10-07")
    assert got["unlocked_units"] == 328_400_000_000_000_000
    assert got["locked_units"] == 671_600_000_000_000_000
    assert got["tracker_circulating_units"] == got["unlocked_units"]
    assert got["needs_a_run"] == ["circulating", "float"]
    following = got["next_unlock"]
    assert following["date"] == "2026-10-08"
    assert following["days_away"] == 1
    assert following["amount_units"] == 18_655_555_555_555_553
    assert following["by_bucket_units"]["investors"] == 5_080_555_555_555_555
    shares = {name: round(share, 4) for name, share in following["share_of"].items()}
    assert shares == {"unlocked": 0.0568, "locked": 0.0278, "cap": 0.0187, "tracker_circulating": 0.0568}


def test_before_the_start_nothing_is_unlocked_and_after_the_end_nothing_follows(tmp_path):
    before = answer(tmp_path, OPEN, "--at", "2025-09-07")
    assert before["unlocked_units"] == 0
    assert before["next_unlock"]["date"] == "2025-09-08"
    assert before["next_unlock"]["share_of"]["unlocked"] is None
    after = answer(tmp_path, OPEN, "--at", "2029-09-08")
    assert after["unlocked_units"] == 10**18
    assert after["next_unlock"] is None


def test_json_of_another_token_is_the_golden_file(tmp_path):
    got = answer(tmp_path, ABC, "--at", "2026-03-01")
    got["file"] = "token.yaml"
    assert got == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_csv_holds_every_month_and_bucket(tmp_path):
    rows = list(csv.DictReader(io.StringIO(invoke(tmp_path, OPEN, "--csv").stdout)))
    assert len(rows) == 49
    assert list(rows[0])[:4] == ["month", "date", "community_units", "ecosystem_units"]
    assert rows[13]["investors_units"] == "5080555555555555"
    assert sum(int(row["unlocks_units"]) for row in rows) == 10**18


def test_the_table_says_which_date_it_took_and_what_needs_a_run(tmp_path):
    result = invoke(tmp_path, OPEN)
    assert "OPEN on 2025-09-08, the first day of the calendar" in result.stdout
    assert "215,500,000.00" in result.stdout
    assert "9,408,333.33 OPEN on 2025-10-08, 30 days later" in result.stdout
    assert "circulating, float" in result.stdout
    assert "Unlocks by month, millions of OPEN" in result.stdout
    dated = invoke(tmp_path, OPEN, "--at", "2029-09-08")
    assert "none, everything is unlocked" in dated.stdout
    assert "the first day of the calendar" not in dated.stdout


def test_a_reading_that_does_not_sum_says_so(tmp_path):
    text = OPEN.replace("51.71 %", "44.71 %").replace("token:\n", "token:\n  sums_to_cap: false\n")
    got = answer(tmp_path, text, "--at", "2029-09-08")
    assert got["unlocked_units"] == 930_000_000_000_000_000
    assert got["unallocated_units"] == 70_000_000_000_000_000
    assert got["notes"]
    table = invoke(tmp_path, text).stdout
    assert "allocated to nobody" in table
    assert "Note: " in table


@pytest.mark.parametrize("options", [("--at", "soon"), ("--json", "--csv")])
def test_options_that_cannot_be_are_refused(tmp_path, options):
    with pytest.raises(InputError):
        invoke(tmp_path, OPEN, *options)


def test_the_library_gives_the_same_answer(tmp_path):
    file = tmp_path / "token.yaml"
    file.write_text(OPEN, encoding="utf-8")
    got = unlocks_of(load_token(file), date(2026, 10, 8))
    assert got.unlocked == 347_055_555_555_555_553
    assert got.locked + got.unlocked + got.unallocated == got.cap


def test_nothing_heavy_is_imported(tmp_path):
    file = tmp_path / "token.yaml"
    file.write_text(OPEN, encoding="utf-8")
    script = (
        "import sys\n"
        "from sim.commands.unlocks import unlocks\n"
        f"unlocks(__import__('pathlib').Path({str(file)!r}), to_json=True)\n"
        "heavy = {'polars', 'numba', 'simpy', 'torch', 'streamlit', 'eth', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["at"] == "2025-09-08"
