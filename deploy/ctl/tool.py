"""Everything the tool can do, in the order `--help` shows it."""

from deploy.ctl import certificate, charger, family, fleet_view, job
from deploy.ctl.command import Command, Thing

THINGS: tuple[Thing, ...] = (
    charger.THING,
    job.THING,
    certificate.THING,
    family.THING,
    *fleet_view.THINGS,
)
COMMANDS: tuple[Command, ...] = (
    *charger.COMMANDS,
    *job.COMMANDS,
    *certificate.COMMANDS,
    *family.COMMANDS,
    *fleet_view.COMMANDS,
)
