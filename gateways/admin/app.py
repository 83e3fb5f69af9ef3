"""The application: every resource's routes under one set of rules."""

from collections.abc import Sequence

from aiohttp import web

from gateways.admin.certificate import Certificates
from gateways.admin.charger import Chargers
from gateways.admin.command import Commands
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.edge import Entrance, problems
from gateways.admin.fleet import Fleet
from gateways.admin.health import Health
from gateways.admin.job import Jobs
from gateways.admin.role import MAY
from gateways.admin.route import Route
from gateways.admin.trust import Trust

BODY_MAX_BYTES = 1024 * 1024


def all_routes(dependencies: AdminDependencies) -> Sequence[Route]:
    """Every route there is, in the order they are documented."""
    fleet = Fleet(dependencies.reader)
    commands = Commands(dependencies.commands, dependencies.clock)
    jobs = Jobs(dependencies.reader, commands, dependencies.clock)
    resources = (
        Chargers(dependencies, commands),
        jobs,
        Certificates(dependencies.reader, jobs),
        Trust(fleet, commands),
        Health(dependencies),
    )
    return tuple(route for resource in resources for route in resource.routes())


def create_app(dependencies: AdminDependencies) -> web.Application:
    """The admin API as an aiohttp application; `serve_admin` gives it a socket."""
    routes = all_routes(dependencies)
    entrance = Entrance(dependencies)
    app = web.Application(middlewares=[problems], client_max_size=BODY_MAX_BYTES)
    for route in routes:
        app.router.add_route(route.method, route.path, entrance.serve(route))
    unlisted = {route.operation for route in routes} - set(MAY)
    if unlisted:
        raise LookupError(f"no role is named for {', '.join(sorted(unlisted))}")
    return app
