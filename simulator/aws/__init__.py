"""AWS Private CA as the demo and the tests know it: the real protocol, real keys, faults on demand.

`serve` starts it inside an event loop, `python -m simulator.aws` as a process. The product never imports
this package; it speaks to it through an unmodified AWS client with an endpoint address.
"""

from simulator.aws.clock import PeerClock
from simulator.aws.config import QUOTAS_PER_S, REALMS, PeerConfig
from simulator.aws.fault import FaultOrder
from simulator.aws.hierarchy import RealmArns
from simulator.aws.peer import RunningPeer, StateDirectoryBusyError, serve
from simulator.aws.role import Role

__all__ = [
    "QUOTAS_PER_S",
    "REALMS",
    "FaultOrder",
    "PeerClock",
    "PeerConfig",
    "RealmArns",
    "Role",
    "RunningPeer",
    "StateDirectoryBusyError",
    "serve",
]
