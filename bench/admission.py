"""What a charger port is told of the benchmark's chargers: each is known by its leaf and comes with profile 3."""

from __future__ import annotations

from datetime import datetime

from bench import pki
from bfactors.admission import AdmissionRecord, KnownCredential


def record_of(files: pki.Files, number: int, not_after: datetime) -> AdmissionRecord:
    """The admission record of charger `number`."""
    name = pki.charger_id(number)
    leaf = KnownCredential(
        fingerprint_sha256=pki.fingerprint(files.charger(number)[0]),
        certificate_id=f"certificate-{number}",
        state="active",
        not_after=not_after,
    )
    return AdmissionRecord(
        charger_id=name,
        managed_identity_id=f"unit-{name}",
        serial_number=name,
        expected_common_name=name,
        organization=pki.ORGANIZATION,
        family="bench/one",
        site="depot",
        cohort="pilot",
        allowed_profiles=(3,),
        credentials=(leaf,),
    )
