"""The in-process chain: an EVM, its contracts, a bridge between two of them, and the witness run.

Importing this package costs nothing: py-evm and the encoders load when the first chain object is made.
"""
