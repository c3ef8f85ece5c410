"""Fused kernels: the only package with numba.

Rule decided here: every kernel has a plain numpy reference (`sim/draws.py` or beside its caller) and a test holds
them equal, integer for integer. Nothing is compiled on import; compiled code is cached on disk.
"""
