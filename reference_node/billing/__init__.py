"""Billing: what a request costs, who is paid, the log that proves it, and the batch that settles an epoch."""

from __future__ import annotations

from reference_node.billing.bill import Bill
from reference_node.billing.log import BillingLog
from reference_node.billing.served import Influence, ServedAdapter, ServedRequest
from reference_node.billing.settlement import close_epoch
from reference_node.billing.settlement_file import Settlement
from reference_node.billing.tariff import Tariff
from reference_node.billing.usage import Totals, Usage

__all__ = [
    "Bill",
    "BillingLog",
    "Influence",
    "ServedAdapter",
    "ServedRequest",
    "Settlement",
    "Tariff",
    "Totals",
    "Usage",
    "close_epoch",
]
