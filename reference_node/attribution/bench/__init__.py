"""The attribution bench: quality against retrained truth, and what attribution costs."""
