"""How tests open the dashboard: where it is, which pages it has, and a function that opens one."""

from __future__ import annotations

from pathlib import Path

from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("", "supply", "fees", "governance", "node", "runs", "attribution")
"""Addresses of the pages."""


def open_page(page: str, **query: str) -> AppTest:
    """Return a page by its address, drawn once; further words are the query of the address."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=20)
    for name, value in query.items():
        app.query_params[name] = value
    # switch_page takes files alone; pages that are functions are known by the hash of their address
    app._page_hash = calc_hash(page) if page else ""
    return app.run()
