"""Sweeps: the same runs at many points of a scenario, and which inputs matter."""
