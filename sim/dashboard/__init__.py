"""Dashboard: Streamlit pages over run directories (documentation: docs/dashboard.md)."""
