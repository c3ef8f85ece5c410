"""Bench of the engine: `olsim bench engine`, its benchmark OTE-1 and the peers that run it too."""
