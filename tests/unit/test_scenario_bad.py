"""Every broken scenario file is refused with exactly the messages that its first lines expect."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.cli import run
from sim.commands.validate import validate

FOLDER = Path(__file__).parents[1] / "bad_scenarios"
FILES = sorted(FOLDER.glob("*.yaml"))


def _header(path: Path, word: str) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.removeprefix(f"# {word}: ") for line in lines if line.startswith(f"# {word}: ")]


def _shown(problem: object, path: Path) -> str:
    """Write a problem as the headers do: own places without the file, others relative to folder or root."""
    text = str(problem).removeprefix(f"{path}:").removeprefix(" ").strip()
    return text.replace(f"{FOLDER}/", "").replace(f"{FOLDER.parents[1]}/", "")


def test_there_are_enough_broken_files() -> None:
    assert len(FILES) >= 60
    assert all(_header(path, "expect") for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_broken_file_leaves_with_2_and_exactly_its_messages(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(lambda: validate(path, _header(path, "set"))) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert [_shown(line, path) for line in told.err.splitlines()] == _header(path, "expect")
    assert list(tmp_path.iterdir()) == [], "nothing is written"
