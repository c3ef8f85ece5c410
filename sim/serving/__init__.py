"""SimPy model of a LoRA serving fleet, and the response surface through which the economy's day uses it."""

from sim.serving.day import FleetGroup, ServingDay
from sim.serving.dedicated import DedicatedFleet
from sim.serving.fleet import FleetModel
from sim.serving.profile import ServingProfile, read_profile
from sim.serving.replicas import FleetShape, Outcome, simulate
from sim.serving.surface import ResponseSurface
from sim.serving.surface_error import SurfaceError
from sim.serving.traffic import Requests, Traffic, draw_requests
from sim.serving.twin import serve_replica

__all__ = [
    "DedicatedFleet",
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
    "serve_replica",
    "simulate",
]
