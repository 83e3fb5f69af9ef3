"""Evidence of what a CA did, recorded until it is: the next step waits for the acknowledgement."""

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from bfactors.ca import next_delay_s
from bfactors.effect import IssueCertificate, ReconcileIssuance, RevokeCertificate
from bfactors.errors import Unavailable
from bfactors.evidence import Evidence, EvidenceBody, evidence_id, kind_name
from bfactors.ports import Clock, EvidenceLog

_LOG = logging.getLogger(__name__)

RETRY_BASE_S = 0.5
RETRY_LONGEST_S = 10.0


class RecordPorts(Protocol):
    """What recording needs: the log, and time and chance for its repeats."""

    @property
    def evidence(self) -> EvidenceLog: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def sleep(self) -> Callable[[float], Awaitable[object]]: ...
    @property
    def uniform(self) -> Callable[[float, float], float]: ...


async def record(
    ports: RecordPorts,
    effect: IssueCertificate | ReconcileIssuance | RevokeCertificate,
    body: EvidenceBody,
    *distinct: str,
) -> None:
    """Returns once acknowledged. The id names the effect and the kind, so that said again it is the same fact.

    `distinct` tells facts of one kind apart.
    """
    fact = (effect.effect_id, kind_name(body), *distinct)
    await record_fact(ports, effect.authority_arn, effect.charger_id, body, *fact)


async def record_fact(
    ports: RecordPorts, authority_arn: str, charger_id: str, body: EvidenceBody, *fact: str
) -> None:
    """Returns once acknowledged. `fact` is what makes it the same fact when it is said again."""
    evidence = Evidence(
        evidence_id=evidence_id("ca", *fact),
        charger_id=charger_id,
        source=f"ca:{authority_arn}",
        observed_at=ports.clock.now(),
        body=body,
    )
    delay_s = 0.0
    while True:
        try:
            await ports.evidence.append(evidence)
        except Unavailable as away:
            if not delay_s:
                _LOG.warning("%s waits to be recorded: %s", " ".join(fact), away)
            delay_s = next_delay_s(
                delay_s, base_s=RETRY_BASE_S, longest_s=RETRY_LONGEST_S, uniform=ports.uniform
            )
            await ports.sleep(delay_s)
        else:
            return
