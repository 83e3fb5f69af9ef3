"""A list of the API as a table or as JSON."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bfactors.errors import SettingsError
from deploy.ctl.client import AdminClient, Body
from deploy.ctl.command import Argument, Command, Desk, Given, option

LIMIT = 100


@dataclass(frozen=True, slots=True)
class Listing:
    """One resource as a table: where it is, its heads, and a row's cells. `whole`: columns that are cut last."""

    path: str
    heads: tuple[str, ...]
    cells: Callable[[Body], tuple[str, ...]]
    whole: frozenset[int] = frozenset({0})

    async def rows(self, client: AdminClient, query: Mapping[str, str], limit: int) -> list[Body]:
        """Raises Refused, Unavailable."""
        return await client.items(self.path, query, limit)

    def show(self, desk: Desk, rows: list[Body]) -> None:
        """The table, or the items."""
        desk.paper.document({"items": rows})
        if rows:
            desk.paper.table(self.heads, [self.cells(row) for row in rows], self.whole)
        else:
            desk.paper.line("none")


def listing_command(
    thing: str,
    listing: Listing,
    filters: tuple[Argument, ...] = (),
    *,
    says: str,
    example: str,
) -> Command:
    """`list`: every filter is the query parameter of its name."""
    names = tuple(each.names[0].removeprefix("--").replace("-", "_") for each in filters)

    async def run(desk: Desk, given: Given) -> int:
        rows = await listing.rows(desk.client, query_of(given, names), limit_of(given))
        listing.show(desk, rows)
        return 0

    return Command(
        thing=thing, action="list", help=says, example=example, run=run, arguments=(*filters, limit_option())
    )


def limit_option() -> Argument:
    return option("--limit", absent=LIMIT, type=int, metavar="N", help=f"at most N (default: {LIMIT})")


def limit_of(given: Given) -> int:
    """Raises SettingsError."""
    if given.limit < 1:
        raise SettingsError("--limit must be 1 or more")
    limit: int = given.limit
    return limit


def query_of(given: Given, names: tuple[str, ...]) -> dict[str, str]:
    """The filters that were given, as query parameters."""
    values: dict[str, Any] = {name: getattr(given, name) for name in names}
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in values.items()
        if value is not None
    }
