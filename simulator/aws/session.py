"""STS AssumeRole, and who is calling: a long-lived key, or a session of an assumed role."""

import re
import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.sax.saxutils import escape

from simulator.aws.config import PeerConfig
from simulator.aws.role import Role
from simulator.aws.service_error import ServiceError

_ROLE_ARN = re.compile(r"arn:aws[\w-]*:iam::[0-9]{12}:role/([\w+=,.@/-]+)")
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}")
_CREDENTIAL = re.compile(r"Credential=(?P<key>[A-Za-z0-9]+)/")
_STS = "https://sts.amazonaws.com/doc/2011-06-15/"
_NAMESPACES = {"SimulatePrincipalPolicy": "https://iam.amazonaws.com/doc/2010-05-08/"}


@dataclass(frozen=True)
class Caller:
    """Who signed a request. `role` is the short name of the assumed role, None for a long-lived key."""

    access_key_id: str
    role: str | None
    session_name: str = ""


@dataclass(frozen=True)
class SessionBook:
    """Sessions handed out by AssumeRole; they outlive a restart.

    Request signatures are not verified: the peer stands on loopback and knows no long-lived secret.
    Expiry follows the machine's clock, since clients judge it by theirs.
    """

    config: PeerConfig
    store: sqlite3.Connection

    def identify(self, headers: Mapping[str, str]) -> Caller:
        """The caller named by a SigV4 Authorization header.

        Raises: ServiceError MissingAuthenticationTokenException, UnrecognizedClientException,
        ExpiredTokenException.
        """
        match = _CREDENTIAL.search(headers.get("Authorization", ""))
        if match is None:
            raise ServiceError("MissingAuthenticationTokenException", "the request is not signed")
        key = match["key"]
        if not key.startswith("ASIA"):
            return Caller(key, None)
        row = self.store.execute("SELECT * FROM session WHERE access_key_id = ?", (key,)).fetchone()
        if row is None or row["token"] != headers.get("X-Amz-Security-Token"):
            raise ServiceError("UnrecognizedClientException", "the security token is invalid")
        if row["expires_at"] <= self.config.clock.machine_timestamp():
            raise ServiceError("ExpiredTokenException", "the security token has expired", 403)
        return Caller(key, _role_name(row["role_arn"]), row["name"])

    def authorize(self, caller: Caller, operation: str, realm: str | None, template: str | None) -> None:
        """Hold a role's session to the role's grant; long-lived keys may do everything.

        Raises: ServiceError AccessDeniedException.
        """
        if caller.role is None or not self.config.roles:
            return
        role = next((role for role in self.config.roles if role.name == caller.role), None)
        denial = (role or Role(caller.role, frozenset())).denial(operation, realm, template)
        if denial is not None:
            raise ServiceError("AccessDeniedException", denial)

    def assume_role(self, form: Mapping[str, str]) -> str:
        """The `AssumeRoleResult` element for this form.

        Raises: ServiceError ValidationError, AccessDenied (no such role among the configured ones).
        """
        role_arn, name = form.get("RoleArn", ""), form.get("RoleSessionName", "")
        seconds = form.get("DurationSeconds", "3600")
        if _ROLE_ARN.fullmatch(role_arn) is None or _SESSION_NAME.fullmatch(name) is None:
            raise ServiceError("ValidationError", "RoleArn or RoleSessionName is not valid")
        if not seconds.isdigit() or not 900 <= int(seconds) <= 43200:
            raise ServiceError("ValidationError", "DurationSeconds must be between 900 and 43200")
        role = _role_name(role_arn)
        if self.config.roles and role not in {known.name for known in self.config.roles}:
            raise ServiceError("AccessDenied", f"not authorized to assume {role_arn}", 403)
        key, token = "ASIA" + secrets.token_hex(8).upper(), secrets.token_urlsafe(48)
        expires_at = self.config.clock.machine_timestamp() + int(seconds)
        self.store.execute("INSERT INTO session VALUES (?,?,?,?,?)", (key, token, role_arn, name, expires_at))
        expiration = datetime.fromtimestamp(int(expires_at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        session_arn = f"arn:aws:sts::{self.config.account_id}:assumed-role/{role}/{name}"
        return (
            "<AssumeRoleResult>"
            f"<AssumedRoleUser><AssumedRoleId>AROA{key[4:]}:{escape(name)}</AssumedRoleId>"
            f"<Arn>{escape(session_arn)}</Arn></AssumedRoleUser>"
            f"<Credentials><AccessKeyId>{key}</AccessKeyId>"
            f"<SecretAccessKey>{secrets.token_urlsafe(30)}</SecretAccessKey>"
            f"<SessionToken>{token}</SessionToken><Expiration>{expiration}</Expiration></Credentials>"
            "</AssumeRoleResult>"
        )


def query_answer(operation: str, result: str, request_id: str) -> str:
    """A whole Query-protocol answer around a result element."""
    return (
        f'<{operation}Response xmlns="{_NAMESPACES.get(operation, _STS)}">{result}'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>"
    )


def query_error(error: ServiceError, request_id: str) -> str:
    """A whole Query-protocol error answer."""
    kind = "Receiver" if error.status >= 500 else "Sender"
    return (
        f'<ErrorResponse xmlns="{_STS}"><Error><Type>{kind}</Type><Code>{escape(error.code)}</Code>'
        f"<Message>{escape(error.message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )


def _role_name(role_arn: str) -> str:
    return role_arn.rpartition("/")[2]
