"""SimPy model of a LoRA serving fleet, and the response surface through which the economy's day uses it."""

from sim.serving.fleet import FleetGroup, FleetModel, ServingDay
from sim.serving.profile import ServingProfile, read_profile
from sim.serving.replicas import FleetShape, Outcome, Requests, draw_requests, simulate
from sim.serving.surface import ResponseSurface, SurfaceError, Traffic

__all__ = [
    "FleetGroup",
    "FleetModel",
    "FleetShape",
    "Outcome",
    "Requests",
    "ResponseSurface",
    "ServingDay",
    "ServingProfile",
    "SurfaceError",
    "Traffic",
    "draw_requests",
    "read_profile",
    "simulate",
]
