"""Bench of the chain: `olsim bench chain`."""
