"""A fleet of simulated chargers, its enrolment, and the command that runs it."""

from simulator.fleet.admin import AdminClient, AdminRefused, Enrolment
from simulator.fleet.command import add_arguments, main
from simulator.fleet.fleet import Fleet, FleetCount
from simulator.fleet.plan import FAMILIES, FleetPlan, PlannedCharger

__all__ = [
    "FAMILIES",
    "AdminClient",
    "AdminRefused",
    "Enrolment",
    "Fleet",
    "FleetCount",
    "FleetPlan",
    "PlannedCharger",
    "add_arguments",
    "main",
]
