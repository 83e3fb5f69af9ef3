"""A certificate's way from revoked here to revoked for everybody."""

from datetime import datetime

from bfactors.event.base import LedgerRecord


class CertificateRefusedAtEdge(LedgerRecord, frozen=True, kw_only=True):
    """Every connect node that lived then had the admission record that refuses it; a node that came later began with it."""

    job_id: str
    certificate_id: str
    refused_at: datetime
    nodes: tuple[str, ...]


class CertificateRevocationPublished(LedgerRecord, frozen=True, kw_only=True):
    """Its issuer's own list or responder says so, as read by us: `source` is `crl` or `ocsp`."""

    job_id: str
    certificate_id: str
    published_at: datetime
    """When we saw it; it may have stood there for as long as the watcher waits between two looks."""
    source: str
    address: str
    list_number: str | None
    """The CRL's number, in hex; a responder's answer has none."""
    this_update: datetime
    listed_revoked_at: datetime
    """Since when it is revoked, in the issuer's words."""


class CertificateRevocationUnpublished(LedgerRecord, frozen=True, kw_only=True):
    """The CA has revoked it and nobody else can know. `isOver`: nor will they; it is not looked for any more."""

    job_id: str
    certificate_id: str
    reason_code: str
    reason_message: str
    is_over: bool


class RevocationFollowUpOpened(LedgerRecord, frozen=True, kw_only=True):
    """With the revocation another job was asked for: `kind` is `replacement` or `deletion`."""

    job_id: str
    certificate_id: str
    kind: str
    follow_up_job_id: str


class ForeignRevocationChecked(LedgerRecord, frozen=True, kw_only=True):
    """The issuer of a leaf that is not ours says something new of it, or (`unknown`) can be asked no more."""

    certificate_id: str
    status: str
    source: str | None
    address: str | None
    this_update: datetime | None
    good_until: datetime | None
    reason_code: str | None
    reason_message: str | None


class RevocationListOverdue(LedgerRecord, frozen=True, kw_only=True):
    """A CA's list is older than it says it may be: what was revoked since is not known to others."""

    purpose: str
    authority_arn: str
    address: str
    list_number: str | None
    this_update: datetime
    next_update: datetime
