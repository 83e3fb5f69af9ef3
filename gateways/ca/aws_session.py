"""AWS credentials and clients: the default chain, or a role assumed through STS and assumed again before it lapses."""

import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import aioboto3
import aiobotocore
from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioDeferredRefreshableCredentials
from aiobotocore.session import AioSession
from botocore.loaders import Loader, create_loader

_USER_AGENT = f"BetterFleet-core aiobotocore/{aiobotocore.__version__}"
"""Ours, because the client would put its own together anew, twice, for every request: a sixth of what a call costs."""

_LOADER: Loader = create_loader()
"""One for all sessions: reading a service's description takes a tenth of a second, and each session would do it anew."""


@dataclass(frozen=True, kw_only=True)
class AwsSettings:
    """Where AWS is and who we are there.

    Without `role_arn` the credentials found are used as they are. `endpoint_url` is for a peer or a VPC endpoint;
    `sts_endpoint_url` defaults to it. Keys given here come before the default chain; they are for the peer.
    """

    region: str
    endpoint_url: str | None = None
    sts_endpoint_url: str | None = None
    role_arn: str | None = None
    role_session_name: str = "betterfleet-core"
    role_session_s: int = 3600
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    connect_timeout_s: float = 3.0
    read_timeout_s: float = 10.0
    connections: int = 32

    def under(self, role_arn: str) -> "AwsSettings":
        """The same account under another role; empty: the credentials as they are."""
        return replace(self, role_arn=role_arn or None)


class AwsClients:
    """Opens clients that never retry by themselves: hidden repeats would escape the token bucket. One loop only."""

    def __init__(self, settings: AwsSettings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._base = self._session()
        for name in ("boto3", "botocore", "aiobotocore"):
            # At DEBUG they write whole requests and answers: CSRs, session tokens.
            logging.getLogger(name).setLevel(logging.INFO)

    async def open(self, service: str) -> Any:
        """A client of one service, open until `close`."""
        session = self._assuming() if self._settings.role_arn else self._base
        return await self._enter(session, service, self._settings.endpoint_url)

    async def close(self) -> None:
        """Close every client and its connections."""
        await self._stack.aclose()

    def _session(self) -> aioboto3.Session:
        return aioboto3.Session(
            botocore_session=_core_session(),
            aws_access_key_id=self._settings.access_key_id,
            aws_secret_access_key=self._settings.secret_access_key,
            region_name=self._settings.region,
        )

    def _assuming(self) -> aioboto3.Session:
        """A session whose credentials are a role's, fetched at first use and again 10 to 15 minutes before they end."""
        core = _core_session()
        core._credentials = AioDeferredRefreshableCredentials(
            refresh_using=self._assume, method="sts-assume-role"
        )
        return aioboto3.Session(botocore_session=core, region_name=self._settings.region)

    async def _assume(self) -> dict[str, str]:
        settings = self._settings
        endpoint = settings.sts_endpoint_url or settings.endpoint_url
        async with self._base.client("sts", endpoint_url=endpoint, config=self._config()) as sts:
            answer = await sts.assume_role(
                RoleArn=settings.role_arn,
                RoleSessionName=settings.role_session_name,
                DurationSeconds=settings.role_session_s,
            )
        issued = answer["Credentials"]
        return {
            "access_key": issued["AccessKeyId"],
            "secret_key": issued["SecretAccessKey"],
            "token": issued["SessionToken"],
            "expiry_time": issued["Expiration"].isoformat(),
        }

    async def _enter(self, session: aioboto3.Session, service: str, endpoint_url: str | None) -> Any:
        return await self._stack.enter_async_context(
            session.client(service, endpoint_url=endpoint_url, config=self._config())
        )

    def _config(self) -> AioConfig:
        return AioConfig(
            user_agent=_USER_AGENT,
            parameter_validation=False,  # what we ask is typed and bounded before it gets here, and the service checks it
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=self._settings.connect_timeout_s,
            read_timeout=self._settings.read_timeout_s,
            max_pool_connections=self._settings.connections,
            s3={"addressing_style": "path" if self._settings.endpoint_url else "auto"},
        )


def _core_session() -> AioSession:
    core = AioSession()
    core.register_component("data_loader", _LOADER)
    return core
