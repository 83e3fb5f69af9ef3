"""Evidence of what a CA did, recorded until it is: the next step waits for the acknowledgement."""

import logging

from actors.issuance.ports import IssuancePorts
from bfactors.ca import next_delay_s
from bfactors.effect import IssueCertificate, RevokeCertificate
from bfactors.errors import Unavailable
from bfactors.evidence import Evidence, EvidenceBody, evidence_id, kind_name

_LOG = logging.getLogger(__name__)

RETRY_BASE_S = 0.5
RETRY_LONGEST_S = 10.0


async def record(
    ports: IssuancePorts, effect: IssueCertificate | RevokeCertificate, body: EvidenceBody, *distinct: str
) -> None:
    """Returns once acknowledged. The id names the effect and the kind, so that said again it is the same fact.

    `distinct` tells facts of one kind apart.
    """
    kind = kind_name(body)
    evidence = Evidence(
        evidence_id=evidence_id("ca", effect.effect_id, kind, *distinct),
        charger_id=effect.charger_id,
        source=f"ca:{effect.authority_arn}",
        observed_at=ports.clock.now(),
        body=body,
    )
    delay_s = 0.0
    while True:
        try:
            await ports.evidence.append(evidence)
        except Unavailable as away:
            if not delay_s:
                _LOG.warning("%s of %s waits to be recorded: %s", kind, effect.effect_id, away)
            delay_s = next_delay_s(
                delay_s, base_s=RETRY_BASE_S, longest_s=RETRY_LONGEST_S, uniform=ports.uniform
            )
            await ports.sleep(delay_s)
        else:
            return
