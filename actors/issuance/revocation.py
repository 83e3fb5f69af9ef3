"""One revoke effect, asked for until the CA has accepted or refused it for good."""

import logging
from collections.abc import Callable
from contextlib import suppress

from actors.issuance.message import CarriedOut
from actors.issuance.patience import Interrupted, Patience
from actors.issuance.ports import IssuancePorts
from actors.issuance.record import record
from bfactors.ca import AlreadyDone, CaError, NotActive, NotReady, QuotaExhausted, Transient, next_delay_s
from bfactors.effect import RevokeCertificate
from bfactors.evidence import RevocationAccepted, RevocationRefused

_LOG = logging.getLogger(__name__)

RETRY_BASE_S = 0.5
RETRY_LONGEST_S = 30.0
BOUNDED_FAILURES = 5


async def carry_out(
    effect: RevokeCertificate, ports: IssuancePorts, patience: Patience, is_settled: Callable[[], bool]
) -> CarriedOut:
    """A revocation has no window: it is idempotent at the CA, and the edge refuses the certificate meanwhile."""
    with suppress(Interrupted):
        await _ask(effect, ports, patience, is_settled)
    return CarriedOut(effect.effect_id)


async def _ask(
    effect: RevokeCertificate, ports: IssuancePorts, patience: Patience, is_settled: Callable[[], bool]
) -> None:
    if ports.revoker is None:
        await _refused(effect, ports, "NotSupported", "this CA cannot revoke")
        return
    bounded = 0
    delay_s = 0.0
    while not is_settled():
        try:
            await ports.revoker.revoke(
                effect.authority_arn, effect.serial_number, effect.reason, is_incident=effect.is_incident
            )
        except AlreadyDone:
            break
        except (Transient, NotReady, QuotaExhausted, NotActive) as error:
            bounded += isinstance(error, Transient) and error.bounded
            if bounded >= BOUNDED_FAILURES:
                await _refused(effect, ports, error.code, error.message)
                return
            if not delay_s:
                _LOG.warning("the revocation of %s is delayed: %s", effect.certificate_id, error)
            delay_s = next_delay_s(
                delay_s, base_s=RETRY_BASE_S, longest_s=RETRY_LONGEST_S, uniform=ports.uniform
            )
            await patience.wait(max(delay_s, error.retry_after_s or 0.0))
        except CaError as error:
            await _refused(effect, ports, error.code, error.message)
            return
        else:
            break
    else:
        return
    await record(ports, effect, RevocationAccepted(certificate_id=effect.certificate_id))


async def _refused(effect: RevokeCertificate, ports: IssuancePorts, code: str, message: str) -> None:
    _LOG.error("the CA refused to revoke %s: %s: %s", effect.certificate_id, code, message)
    body = RevocationRefused(certificate_id=effect.certificate_id, code=code, message=message)
    await record(ports, effect, body)
