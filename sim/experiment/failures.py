"""Failures of an experiment that are nobody's bad input.

Rule decided here: a broken check is a result (exit code 1, written into the manifest); a lost worker is an
accident after which the run can be continued.
"""

from __future__ import annotations


class CheckFailed(RuntimeError):  # noqa: N818 - named after what happened
    """A check stopped the run: an identity, a refused flow, or the chain's books."""


class WorkerLost(RuntimeError):  # noqa: N818 - named after what happened
    """A worker process died; what had landed is kept."""
