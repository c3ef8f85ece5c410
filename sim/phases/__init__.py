"""Phases of the day, one file each; `sim/clock.py` has their order."""
