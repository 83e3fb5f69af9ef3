"""What whoever decides on an approval is shown beside its content, and what is read afresh when it is given: by kind.

A kind that is not in the table that `app` makes has neither: its content says all there is to see.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from gateways.admin.ports import Body


class Sight(Protocol):
    """Of one kind. `content` is the held command, as the approval shows it."""

    async def shown(self, content: Mapping[str, Any]) -> Body:
        """Fields of the approval's view while it is open. Raises Unavailable."""
        ...

    async def afresh(self, content: Mapping[str, Any]) -> dict[str, int]:
        """The fields of the command that age (`ApprovalKind.ageing`), as the projections say now. Raises Unavailable."""
        ...


Sights = Mapping[str, Sight]
