"""Preview: what a proposal would do, by paired runs with the same luck and by its execution on the chain."""
