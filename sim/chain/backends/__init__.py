"""Backends: chains that are not in this process; the one that is stands in `sim.chain.evm`."""
