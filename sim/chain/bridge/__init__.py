"""The bridge between the two chains, on the OP Stack's own contracts."""

from sim.chain.bridge.gas_token import GasTokenBridge
from sim.chain.bridge.interface import Bridge, BridgeError, BridgeTimes, Deposit, Derived, Withdrawal

__all__ = ["Bridge", "BridgeError", "BridgeTimes", "Deposit", "Derived", "GasTokenBridge", "Withdrawal"]
