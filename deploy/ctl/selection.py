"""Which chargers a command is about: by cohort, family, site, the end of their certificate, or a file of ids."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bfactors.errors import SettingsError
from deploy.ctl.client import AdminClient, Body, Refused, in_path
from deploy.ctl.command import Given, option

SELECTING = (
    option("--cohort", metavar="NAME", help="many: all chargers of it"),
    option("--family", metavar="NAME", help="many: all chargers of it"),
    option("--site", metavar="NAME", help="many: all chargers of it"),
    option("--expires-before", metavar="TIME", help="many: whose active certificate ends before"),
    option("--from-file", type=Path, metavar="FILE", help="many: one id a line, # for notes; - is stdin"),
)
_PLACES = ("cohort", "family", "site")
_NAMES = (*_PLACES, "expires_before", "from_file")
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Selection:
    """Those that are meant, in the order of their ids or of the file, and ids that nothing is known of."""

    chargers: tuple[Body, ...]
    unknown: tuple[str, ...]
    said: dict[str, str]
    """The filters, as they were given."""
    listed: tuple[str, ...]
    """The file's ids."""


def is_selection(given: Given) -> bool:
    """Whether many are meant."""
    return any(getattr(given, name) is not None for name in _NAMES)


async def selected(client: AdminClient, given: Given, purpose: str) -> Selection:
    """All filters hold at once. Raises Refused, Unavailable, SettingsError."""
    places = {name: value for name in _PLACES if (value := getattr(given, name)) is not None}
    said = dict(places)
    listed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    if given.from_file is not None:
        listed = ids_of(given.from_file)
        chargers, unknown = await _named(client, listed)
        chargers = [each for each in chargers if all(each[name] == value for name, value in places.items())]
        said["from_file"] = str(given.from_file)
    else:
        chargers = await client.every("/api/v1/chargers", places)
    if given.expires_before is not None:
        said["expires_before"] = given.expires_before
        ending = {"state": "active", "purpose": purpose, "expires_before": given.expires_before}
        holders = {each["charger_id"] for each in await client.every("/api/v1/certificates", ending)}
        chargers = [each for each in chargers if each["charger_id"] in holders]
    return Selection(tuple(chargers), unknown, said, listed)


def ids_of(path: Path) -> tuple[str, ...]:
    """The ids in a file, each once. Raises SettingsError."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise SettingsError(f"the file {path} cannot be read: {problem}") from problem
    found = dict.fromkeys(
        line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")
    )
    if not found:
        raise SettingsError(f"the file {path} names no charger")
    return tuple(found)


async def _named(client: AdminClient, ids: Sequence[str]) -> tuple[list[Body], tuple[str, ...]]:
    room = asyncio.Semaphore(_AT_ONCE)

    async def look(charger_id: str) -> Body | None:
        async with room:
            try:
                return await client.get(f"/api/v1/chargers/{in_path(charger_id)}")
            except Refused as refused:
                if refused.is_about_the_token:
                    raise
                return None

    found = await asyncio.gather(*(look(each) for each in ids))
    unknown = tuple(each for each, body in zip(ids, found, strict=True) if body is None)
    return [body for body in found if body is not None], unknown
