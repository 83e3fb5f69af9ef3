"""Faults on demand: errors, silence and lost answers, placed before or after a call took effect."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

from msgspec import Meta, Struct, structs

from simulator.aws.service_error import ServiceError

#: The `error` that closes the connection instead of answering.
CONNECTION_CLOSED = "ConnectionClosed"


class FaultOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault as `POST /_peer/faults` takes it.

    `operation` is an AWS operation name, `GetCrl`, or `*`. Without `error`, a fault before the effect only
    delays, and one after the effect closes the connection. `skip` calls pass first. `status` overrides the
    HTTP status that AWS would use for the error.
    """

    operation: str = "*"
    error: str | None = None
    message: str = "injected fault"
    status: Annotated[int, Meta(ge=400, le=599)] | None = None
    count: Annotated[int, Meta(ge=1)] | Literal["forever"] = 1
    skip: Annotated[int, Meta(ge=0)] = 0
    after: Literal["before-effect", "after-effect"] = "before-effect"
    delay_s: Annotated[float, Meta(ge=0, le=3600)] = 0


class ConnectionLost(Exception):
    """The answer must not be sent: close the connection."""


class FaultPlan:
    """The faults still to happen, oldest first; one call meets at most one of them."""

    def __init__(self) -> None:
        self._orders: list[FaultOrder] = []

    @property
    def pending(self) -> list[FaultOrder]:
        """What is still to happen, with the counts that are left."""
        return list(self._orders)

    def add(self, orders: list[FaultOrder]) -> None:
        """Append these faults."""
        self._orders.extend(orders)

    def clear(self) -> None:
        """Forget every fault."""
        self._orders.clear()

    def take(self, operation: str) -> FaultOrder | None:
        """The fault this call meets, with its count reduced."""
        for index, order in enumerate(self._orders):
            if order.operation not in (operation, "*"):
                continue
            if order.skip:
                self._orders[index] = structs.replace(order, skip=order.skip - 1)
                return None
            if order.count == 1:
                del self._orders[index]
            elif isinstance(order.count, int):
                self._orders[index] = structs.replace(order, count=order.count - 1)
            return order
        return None


async def strike(fault: FaultOrder, pause: Callable[[float], Awaitable[object]]) -> None:
    """Let the fault happen: pause for its `delay_s`, then fail as it says.

    Raises: ServiceError, ConnectionLost; returns normally for a mere delay.
    """
    if fault.delay_s:
        await pause(fault.delay_s)
    if fault.error == CONNECTION_CLOSED or (fault.error is None and fault.after == "after-effect"):
        raise ConnectionLost
    if fault.error is not None:
        raise ServiceError(fault.error, fault.message, fault.status)
