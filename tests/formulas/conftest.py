"""Collects `*.formula.yaml` with the runner that `olsim check` uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from models.errors import InputError
from sim.check import Case, collect, run_case
from sim.check.cases import SUFFIX


class FormulaError(Exception):
    """Differences of one case."""


class FormulaItem(pytest.Item):
    """One case; its id is file, line and name."""

    case: Case

    def runtest(self) -> None:
        result = run_case(self.case)
        if not result.ok:
            raise FormulaError("\n".join(result.problems))

    def repr_failure(self, excinfo, style=None):
        return (
            str(excinfo.value) if isinstance(excinfo.value, FormulaError) else super().repr_failure(excinfo)
        )

    def reportinfo(self):
        return self.case.file, self.case.line - 1, self.name


class FormulaFile(pytest.File):
    def collect(self) -> Iterator[FormulaItem]:
        try:
            cases = collect([self.path])
        except InputError as error:
            raise self.CollectError(str(error)) from error
        for case in cases:
            item = FormulaItem.from_parent(self, name=f"{case.line}: {case.name}")
            item.case = case
            yield item


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> FormulaFile | None:
    return FormulaFile.from_parent(parent, path=file_path) if file_path.name.endswith(SUFFIX) else None
