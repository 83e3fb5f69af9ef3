"""The application: every resource's routes under one set of rules."""

from collections.abc import Sequence

from aiohttp import web

from gateways.admin.approvable import Sights
from gateways.admin.approval import Approvals
from gateways.admin.authority import Authorities
from gateways.admin.authorization_key import AuthorizationKeys
from gateways.admin.certificate import Certificates
from gateways.admin.charger import Chargers
from gateways.admin.command import Commands
from gateways.admin.departure import Departures
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.edge import Entrance, problems
from gateways.admin.expired_admission import ExpiredAdmissions
from gateways.admin.family import Families
from gateways.admin.firmware import FirmwareTrust
from gateways.admin.first_key import FirstKeys
from gateways.admin.fleet import Fleet
from gateways.admin.health import Health
from gateways.admin.identity import Identities
from gateways.admin.importing import Imports
from gateways.admin.incident import Incidents
from gateways.admin.incident_selection import IncidentSight
from gateways.admin.job import Jobs
from gateways.admin.local_controller import LocalControllers
from gateways.admin.lockout import Lockouts
from gateways.admin.log import Logs
from gateways.admin.migration import Migrations
from gateways.admin.notification import Notifications
from gateways.admin.openapi import OpenApi
from gateways.admin.operator_call import OperatorCalls
from gateways.admin.policy import Policies
from gateways.admin.policy_preview import PolicyPreviews
from gateways.admin.proven import Proven
from gateways.admin.purpose import Purposes
from gateways.admin.reconciliation import Reconciliations
from gateways.admin.renewal import Renewals
from gateways.admin.retention import RetentionRules
from gateways.admin.rollover import Rollovers
from gateways.admin.rollover_sight import RolloverSight
from gateways.admin.route import Route
from gateways.admin.server_certificate import ServerCertificates
from gateways.admin.stream import EVENT_STREAM, Stream
from gateways.admin.supervisor import Supervisors
from gateways.admin.trace import Traces
from gateways.admin.trail import Trail
from gateways.admin.trust import Trust
from gateways.admin.waiver import Waivers

BODY_MAX_BYTES = 1024 * 1024


def described_routes(dependencies: AdminDependencies) -> Sequence[Route]:
    """Every route there is, in the order they are documented."""
    return _routes(dependencies, Stream(dependencies), OpenApi(dependencies.version))


def create_app(dependencies: AdminDependencies) -> web.Application:
    """The admin API as an aiohttp application; `serve_admin` gives it a socket."""
    stream = Stream(dependencies)
    description = OpenApi(dependencies.version)
    routes = _routes(dependencies, stream, description)
    description.describe(routes)
    entrance = Entrance(dependencies)
    app = web.Application(middlewares=[problems], client_max_size=BODY_MAX_BYTES)
    app.on_shutdown.append(stream.close)
    for route in routes:
        app.router.add_route(route.method, route.path, entrance.serve(route))
        if route.method == "GET" and route.content_type != EVENT_STREAM:
            app.router.add_route("HEAD", route.path, entrance.serve(route))
    return app


def _routes(dependencies: AdminDependencies, stream: Stream, description: OpenApi) -> tuple[Route, ...]:
    reader = dependencies.reader
    fleet = Fleet(reader)
    commands = Commands(dependencies.commands, dependencies.clock)
    migrations = Migrations(reader, commands, dependencies.clock)
    first_keys = FirstKeys(dependencies, commands)
    departures = Departures(dependencies, commands, first_keys)
    jobs = Jobs(reader, commands, dependencies.clock, migrations, departures)
    chargers = Chargers(dependencies, commands, first_keys)
    sights: Sights = {
        IncidentSight.kind: IncidentSight(reader, dependencies.clock),
        RolloverSight.kind: RolloverSight(reader, fleet, dependencies.clock),
    }
    resources = (
        chargers,
        Imports(dependencies, chargers),
        departures,
        jobs,
        Certificates(reader, jobs),
        Lockouts(dependencies, fleet),
        Renewals(dependencies, fleet),
        Trust(fleet, commands),
        Supervisors(dependencies.statuses, fleet, commands),
        Policies(reader, fleet, commands, dependencies.clock),
        PolicyPreviews(reader, fleet, dependencies.clock),
        Waivers(reader, fleet, commands, dependencies.clock),
        OperatorCalls(dependencies, commands),
        Traces(dependencies, commands),
        LocalControllers(commands),
        ExpiredAdmissions(commands),
        migrations,
        Approvals(reader, commands, sights),
        Logs(dependencies, commands),
        AuthorizationKeys(dependencies, commands),
        Families(fleet, reader, commands),
        Notifications(dependencies, fleet, commands),
        Reconciliations(fleet, commands),
        Authorities(dependencies, fleet, commands),
        Rollovers(dependencies, fleet, commands),
        Incidents(dependencies, fleet, commands),
        Identities(dependencies, commands),
        RetentionRules(fleet, commands),
        Purposes(),
        ServerCertificates(dependencies),
        FirmwareTrust(reader, commands),
        Trail(reader),
        Proven(dependencies),
        stream,
        Health(dependencies),
        description,
    )
    return tuple(route for resource in resources for route in resource.routes())
