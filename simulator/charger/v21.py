"""OCPP 2.1 as a charger speaks it: what differs from 2.0.1."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from simulator.charger.answers_2x import Tables2x
from simulator.charger.configuration import OcppVersion
from simulator.charger.credential import CertificateUse
from simulator.charger.deed import RequestCertificate
from simulator.charger.dialect import Said
from simulator.charger.frame import Payload
from simulator.charger.v201 import TABLES as TABLES_201
from simulator.charger.v201 import TRIGGERS, V201

TABLES = replace(
    TABLES_201,
    triggers=TRIGGERS | {"SignV2G20Certificate": lambda evse: RequestCertificate(CertificateUse.V2G20)},
    root_types=(*TABLES_201.root_types, "OEMRootCertificate"),
    uses=(*TABLES_201.uses, "V2G20Certificate"),
    log_types=(*TABLES_201.log_types, "DataCollectorLog"),
    certificate_chars=10_000,
    url_chars=2000,
    password_chars=64,
    has_request_ids=True,
)


class V21(V201):
    """2.0.1's words, with request ids and a root wished for in SignCertificate."""

    version = OcppVersion.V21
    has_extended_frames = True
    tables: ClassVar[Tables2x] = TABLES

    def sign(self, csr: str, use: CertificateUse | None, request_id: int, root_hash: Payload | None) -> Said:
        """A V2G request names the root it is meant for (A02.FR.24, A02.FR.27)."""
        said = super().sign(csr, use, request_id, root_hash)
        extra: Payload = {"requestId": request_id}
        if root_hash is not None and use in (CertificateUse.V2G, CertificateUse.V2G20):
            extra["hashRootCertificate"] = root_hash
        return Said(said.action, said.payload | extra)
