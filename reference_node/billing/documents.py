"""Documents of a log: the tariff, rules and statements that records name by hash, each kept once beside it.

Rule decided here: a document is on the disk before a record names it, and is never written again.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from reference_node.access.files import write_atomic
from reference_node.billing.hashes import canonical_json
from reference_node.billing.reading import rules_path, statement_path, tariff_path
from reference_node.billing.rules import Rules
from reference_node.billing.tariff import Tariff
from reference_node.billing.terms import Terms, statement_document, statement_root


class KeptDocuments:
    """The documents that one writer of a log names.

    Parameters
    ----------
    folder
        The log's folder.
    tariff
        What is charged.
    """

    def __init__(self, folder: Path, tariff: Tariff) -> None:
        self._folder, self._tariff = folder, tariff.sha256
        self.rules_hash = lru_cache(256)(self._rules_hash)
        _keep(tariff_path(folder, bytes.fromhex(self._tariff)), tariff.document())

    def statement(self, terms: tuple[Terms, ...]) -> bytes:
        """Keep a statement of payees and return its root."""
        root = statement_root(terms)
        _keep(statement_path(self._folder, root), statement_document(terms))
        return root

    def _rules_hash(self, method: str, params: str) -> bytes:
        """Keep the rules of a method with these parameters and return their hash."""
        rules = Rules(self._tariff, method, params)
        _keep(rules_path(self._folder, rules.digest), rules.document())
        return rules.digest


def _keep(path: Path, document: dict[str, Any]) -> None:
    if not path.exists():
        write_atomic(path, canonical_json(document))
