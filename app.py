"""The dashboard: `olsim app`, or `streamlit run app.py` in the checkout."""

from __future__ import annotations

import streamlit as st

from sim.dashboard.pages import attribution, fees, governance, node, overview, runs, supply
from sim.dashboard.shell import choose_run

st.set_page_config(page_title="olsim", layout="wide")
page = st.navigation(
    {
        "One run": [
            st.Page(overview.show, title="Overview", default=True),
            st.Page(supply.show, title="Supply and unlocks", url_path="supply"),
            st.Page(fees.show, title="Fees and payouts", url_path="fees"),
            st.Page(governance.show, title="Governance", url_path="governance"),
            st.Page(node.show, title="Node", url_path="node"),
        ],
        "All runs": [st.Page(runs.show, title="Runs", url_path="runs")],
        "Running node": [st.Page(attribution.show, title="Attribution", url_path="attribution")],
    }
)
choose_run()
page.run()
