"""Serving policies compared in the economy: the same world and the same luck under each way to hold adapters."""
