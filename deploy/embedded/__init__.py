"""The embedded system: PostgreSQL and NATS JetStream from wheels, as children, under one data directory."""

from deploy.embedded.data_dir import DataDirectory
from deploy.embedded.errors import EmbeddedError
from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.nats_rights import inbox_prefix
from deploy.embedded.postgres import EmbeddedPostgres

__all__ = ["DataDirectory", "EmbeddedError", "EmbeddedNats", "EmbeddedPostgres", "inbox_prefix"]
