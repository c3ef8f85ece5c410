"""Who may use the node, and how much: keys with scopes, and quotas."""

from __future__ import annotations

from reference_node.access.keys import SCOPES, ApiKey, KeyStore
from reference_node.access.quotas import Quota, QuotaExceeded, QuotaLedger

__all__ = ["SCOPES", "ApiKey", "KeyStore", "Quota", "QuotaExceeded", "QuotaLedger"]
