"""The embedded servers a process needs and was given no address for, started before any thread or loop."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from bfactors.settings import Settings
from deploy.embedded.aws import EmbeddedAws
from deploy.embedded.data_dir import DataDirectory
from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.postgres import EmbeddedPostgres
from deploy.role.custody import SealingKeyFile, make_pseudonym_keys, write_private
from gateways.checkpoint.key_file import new_key

PEER_KEY = "peer"
"""The AWS peer checks no signatures; any access key does."""
PEER_BUCKET = "betterfleet-audit"
"""The peer's buckets come into being when something is put there."""
DATABASE_ROLES = ("bf_owner", "bf_writer", "bf_reader")


@dataclass(slots=True)
class Servers:
    """What was started, and the settings completed with where it is. `stop` is harmless twice."""

    settings: Settings
    database_passwords: dict[str, str] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)
    pids: dict[str, int] = field(default_factory=dict)

    def stop(self) -> None:
        """In the reverse order of starting."""
        self.stack.close()


def start_servers(settings: Settings, aws_options: tuple[str, ...] = ()) -> Servers:
    """Start what settings leave open. Raises EmbeddedError; then nothing is left running."""
    servers = Servers(settings)
    try:
        data = servers.stack.enter_context(DataDirectory.open(settings.data_dir))
        if settings.embeds_postgres:
            _postgres(servers, data)
        if settings.embeds_nats:
            _nats(servers, data)
        if settings.embeds_aws:
            _aws(servers, data, aws_options)
        secrets = data.folder("secrets")
        if servers.settings.pepper_file == Path():
            servers.settings = replace(servers.settings, pepper_file=secrets / "pepper")
        if servers.settings.secret_key_file == Path() and not servers.settings.secret_kms_key_arns:
            # Made only under its default name: a file that is named belongs to several cores, and one of each would be many.
            servers.settings = replace(servers.settings, secret_key_file=secrets / "sealing.key")
            SealingKeyFile.make(servers.settings.secret_key_file)
        if servers.settings.pseudonym_key_file == Path():
            servers.settings = replace(servers.settings, pseudonym_key_file=secrets / "pseudonym.key")
            make_pseudonym_keys(servers.settings.pseudonym_key_file)
        if servers.settings.checkpoint_key_file == Path() and not servers.settings.checkpoint_kms_key_arns:
            servers.settings = replace(servers.settings, checkpoint_key_file=secrets / "checkpoint.key")
            if not servers.settings.checkpoint_key_file.exists():
                write_private(servers.settings.checkpoint_key_file, new_key())
    except BaseException:
        servers.stop()
        raise
    return servers


def _postgres(servers: Servers, data: DataDirectory) -> None:
    database = EmbeddedPostgres.start(data)
    servers.stack.callback(database.stop)
    servers.pids["postgres"] = database.pid
    servers.database_passwords = {role: database.password(role) for role in DATABASE_ROLES}
    servers.settings = replace(
        servers.settings,
        postgres_superuser_dsn=database.dsn(),
        postgres_owner_dsn=database.dsn("bf_owner"),
        postgres_writer_dsn=database.dsn("bf_writer"),
        postgres_reader_dsn=database.dsn("bf_reader"),
    )


def _nats(servers: Servers, data: DataDirectory) -> None:
    broker = EmbeddedNats.start(data)
    servers.stack.callback(broker.stop)
    servers.pids["nats"] = broker.pid
    servers.settings = replace(
        servers.settings,
        nats_url=broker.url,
        nats_core_seed_file=broker.seed_file("core"),
        nats_connect_seed_file=broker.seed_file("connect"),
    )


def _aws(servers: Servers, data: DataDirectory, options: tuple[str, ...]) -> None:
    peer = EmbeddedAws.start(data, options=options)
    servers.stack.callback(peer.stop)
    servers.pids["aws"] = peer.pid
    servers.settings = replace(
        servers.settings,
        aws_endpoint_url=peer.url,
        aws_audit_buckets=dict.fromkeys(peer.authorities, PEER_BUCKET),
        aws_access_key_id=PEER_KEY,
        aws_secret_access_key=PEER_KEY,
        aws_role_arns=peer.role_arns,
        aws_charging_station_ca_arn=peer.authorities["charger-identity"].issuing_arn,
        aws_backend_server_ca_arn=peer.authorities["backend-server"].issuing_arn,
        aws_secc_iso15118_2_ca_arn=servers.settings.aws_secc_iso15118_2_ca_arn
        or peer.authorities["iso15118"].issuing_arn,
    )
