"""olsim: a simulation sandbox for token economies that pay for AI."""

from __future__ import annotations

__version__ = "0.1.0"
