"""Flags that several commands share, and how they become settings."""

import argparse
import logging
import os
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from bfactors.errors import SettingsError
from bfactors.settings import Settings, load
from deploy.role.fleet_bootstrap import check_policy


def add_settings_flags(parser: argparse.ArgumentParser, *names: str) -> None:
    """`--config`, `--log-level` and the named flags; each sets the setting of its name."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings as TOML")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), help="default: info")
    described: dict[str, tuple[type, str, str]] = {
        "data-dir": (Path, "DIR", "embedded servers, keys and tokens live here (default: data)"),
        "ocpp-host": (str, "HOST", "address chargers connect to (default: 127.0.0.1)"),
        "ocpp-port": (int, "PORT", "TLS port for chargers, 0 for any free one (default: 9443)"),
        "ocpp-plain-port": (int, "PORT", "plain WebSocket for profiles 0 and 1 (default: off)"),
        "admin-host": (str, "HOST", "address of the admin API (default: 127.0.0.1)"),
        "admin-port": (int, "PORT", "port of the admin API, 0 for any free one (default: 9080)"),
        "health-port": (int, "PORT", "probes and metrics, 0 for any free port, -1 for none (default: 9081)"),
        "node": (str, "NAME", "this process's name among its like"),
        "nats-url": (str, "URL", "NATS; without it, NATS from its wheel"),
        "aws-endpoint-url": (str, "URL", "AWS Private CA's endpoint; without ARNs and this, the AWS peer"),
    }
    for name in names:
        kind, metavar, text = described[name]
        parser.add_argument(f"--{name}", type=kind, metavar=metavar, help=text)


def settings_of(options: argparse.Namespace) -> Settings:
    """Raises SettingsError, also for a policy that no fleet could take."""
    file: dict[str, Any] = {}
    if options.config is not None:
        try:
            file = tomllib.loads(options.config.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as problem:
            raise SettingsError(f"the settings file {options.config} cannot be read: {problem}") from problem
    flags = {name: value for name, value in vars(options).items() if name in Settings.__struct_fields__}
    settings = load(os.environ, file, flags)
    check_policy(settings.policy, datetime.now(UTC))
    return settings


_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every log record carries; the rest was given as `extra` and belongs into the line."""


class _JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"),
            "level": record.levelname.lower(),
            "room": record.name,
            "message": record.getMessage(),
        }
        line.update({key: value for key, value in vars(record).items() if key not in _STANDARD})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def log_to_stderr(level: str) -> None:
    """Structured logs, one line each, away from stdout."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("websockets", "aiobotocore", "botocore", "asyncio", "nats", "aiohttp.access", "pykka"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def say_ready(**fields: str | int | dict[str, int]) -> None:
    """The one line on stdout that says a role is ready."""
    sys.stdout.write(orjson.dumps({"event": "ready", **fields}).decode() + "\n")
    sys.stdout.flush()
