"""What every OCPP version must offer: one file per version, found by its constant `DIALECT`.

A dialect turns schema-valid payloads into `bfactors.ocpp` messages and back; it knows no sockets and keeps no state.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Protocol

from bfactors.capability import NO_CAPABILITIES, Capabilities
from bfactors.disclosed import Disclosed
from bfactors.instruction import InstructionKind
from bfactors.ocpp import Answered, Reply, StationMessage
from gateways.ocpp.frame import Payload
from gateways.ocpp.schema import SchemaSet


class NotSendable(Exception):
    """An instruction this dialect has no message for, or whose message would break the charger's limits."""


class Unsupported(Exception):
    """A call we know but do not serve."""


class Dialect(Protocol):
    """One OCPP version."""

    @property
    def version(self) -> str:
        """`2.0.1`, `2.1` or `1.6`; the subprotocol is `ocpp` and this."""
        ...

    @property
    def schemas(self) -> SchemaSet: ...

    @property
    def codes(self) -> Mapping[str, str]:
        """What this version calls the CALLERROR codes that are not OCPP 2.0.1's; "" for what it has us ignore."""
        ...

    def authorizing(self, status: str) -> "Dialect":
        """This dialect, with Authorize answered by a status (in OCPP 2.0.1's words) when nobody decides."""
        ...

    def message_of(self, action: str, payload: Payload) -> StationMessage:
        """A charger's valid call. Raises Unsupported."""
        ...

    def effective_action(self, action: str, payload: Payload) -> str:
        """Under which name a valid call is answered: its action, or that and what the payload wraps (`Outer:Inner`).

        There are few of them, whatever a charger sends; `schemas` and `reply_of` know each.
        """
        ...

    def call_of(
        self,
        instruction: InstructionKind,
        capabilities: Capabilities = NO_CAPABILITIES,
        secret: Disclosed | None = None,
    ) -> tuple[str, Payload]:
        """The effective action and payload that carry out an instruction, as this charger takes it. Raises NotSendable.

        `secret` is what WriteAuthorizationKey (the key) and CollectLog (the address) name by id only.
        """
        ...

    def answer_of(self, instruction: InstructionKind, payload: Payload) -> Answered:
        """A charger's valid answer to `instruction`."""
        ...

    def reply_of(self, action: str, reply: Reply) -> Payload:
        """The payload of our CALLRESULT; a CallErrorReply never gets here."""
        ...


def wire_action(effective_action: str) -> str:
    """The action a frame names, of an effective one."""
    return effective_action.partition(":")[0]


def subprotocol(dialect: Dialect) -> str:
    """The WebSocket subprotocol of a dialect, e.g. `ocpp2.0.1`."""
    return f"ocpp{dialect.version}"


def version_of(name: str) -> str:
    """The OCPP version of a subprotocol, e.g. `2.0.1`."""
    return name.removeprefix("ocpp")


@cache
def loaded_dialects() -> Mapping[str, Dialect]:
    """Every dialect whose file is here, by subprotocol, newest version first. Compiles their schemas."""
    package = importlib.import_module("gateways.ocpp")
    found: list[Dialect] = []
    for module_info in pkgutil.iter_modules(package.__path__):
        if module_info.name.startswith("v") and module_info.name[1:].isdigit():
            found.append(importlib.import_module(f"gateways.ocpp.{module_info.name}").DIALECT)
    found.sort(key=lambda dialect: tuple(map(int, dialect.version.split("."))), reverse=True)
    return MappingProxyType({subprotocol(dialect): dialect for dialect in found})
