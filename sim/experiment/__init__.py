"""Experiments: runs of a scenario in parallel, stored unit by unit, and statistics over them."""
