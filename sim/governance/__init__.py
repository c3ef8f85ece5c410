"""Governance in the simulation: delegation, proposals and votes, step by step as the contracts run them."""
