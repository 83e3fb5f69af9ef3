"""What the core wants done elsewhere: at a CA, or by its own clocks. Outstanding until evidence settles it."""

from datetime import datetime

import msgspec


class _Effect(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    pass


class IssueCertificate(_Effect, frozen=True, kw_only=True):
    """Have a CSR signed: byte-identical parameters, absolute dates, called only before `call_before`.

    `external_ref` is set once the CA has named the certificate; then only GetCertificate is left to do.
    """

    effect_id: str
    charger_id: str
    purpose: str
    job_id: str
    attempt: int
    token: str
    authority_arn: str
    authority_pem: str
    authority_chain_pem: str
    template: str
    signing_algorithm: str
    csr_pem: str
    not_before: datetime
    not_after: datetime
    call_before: datetime
    external_ref: str | None = None
    replaces_until: datetime | None = None
    """When the certificate that this one replaces ends."""
    is_incident: bool = False
    """It replaces one whose key is compromised, or that an incident is about."""


class ReconcileIssuance(_Effect, frozen=True, kw_only=True):
    """Find out whether the CA signed an attempt that nobody can rule out; only then may another one be opened.

    What it was asked for is what identifies its certificate: key, template and the absolute dates. From `call_before` on
    no call left.
    """

    effect_id: str
    charger_id: str
    purpose: str
    job_id: str
    attempt: int
    authority_arn: str
    template: str
    spki_sha256: str
    not_before: datetime
    not_after: datetime
    call_before: datetime


class ReconcileAuthority(_Effect, frozen=True, kw_only=True):
    """Compare everything a CA signed with the ledger. The fleet's own: `charger_id` is empty."""

    effect_id: str
    charger_id: str
    purpose: str
    run_id: str
    requested_at: datetime
    """A report made since then will do."""
    authority_arn: str
    authority_pem: str


class RevokeCertificate(_Effect, frozen=True, kw_only=True):
    """Have a certificate revoked. `serial_number` is lower hex without separators; `reason` as the API names it."""

    effect_id: str
    charger_id: str
    purpose: str
    certificate_id: str
    authority_arn: str
    serial_number: str
    reason: str
    is_incident: bool = False
    """An incident has it revoked, for whatever reason."""


class WatchPublication(_Effect, frozen=True, kw_only=True):
    """Look for a certificate on its issuer's list, or ask its responder, until it is said to be revoked.

    The addresses are the certificate's own. After `not_after` no list need name it any more.
    """

    effect_id: str
    charger_id: str
    purpose: str
    certificate_id: str
    authority_arn: str
    issuer_pem: str
    serial_number: str
    crl_addresses: tuple[str, ...]
    ocsp_addresses: tuple[str, ...]
    not_after: datetime


class CheckForeign(_Effect, frozen=True, kw_only=True):
    """Keep knowing whether a leaf that somebody else issued is revoked: `known_status` is what the ledger has of it.

    `authority_arn` names the issuer by its subject; what was `good` may be repeated until `good_until`.
    """

    effect_id: str
    charger_id: str
    purpose: str
    certificate_id: str
    authority_arn: str
    chain_pem: str
    serial_number: str
    crl_addresses: tuple[str, ...]
    ocsp_addresses: tuple[str, ...]
    known_status: str
    good_until: datetime | None = None


class StartRenewal(_Effect, frozen=True, kw_only=True):
    """Send the command that renews a certificate, at the purpose's own pace."""

    effect_id: str
    charger_id: str
    purpose: str
    certificate_id: str
    job_id: str
    due_reason: str
    replaces_until: datetime | None = None
    """When the certificate ends: whose end is nearest has the next turn. None: an effect from before turns went by it."""
    authority_arn: str = ""
    """The CA that will be asked, whose calls it is to leave room for. Empty: none is known."""


class MintKey(_Effect, frozen=True, kw_only=True):
    """Have an AuthorizationKey made (or, if it was given, taken up) and sealed under the id of its job.

    `identities` are the names anybody can read off the charger: a key made of them is weak.
    """

    effect_id: str
    charger_id: str
    purpose: str
    job_id: str
    generation: int
    is_given: bool
    identities: tuple[str, ...]


Effect = (
    IssueCertificate
    | ReconcileIssuance
    | ReconcileAuthority
    | RevokeCertificate
    | WatchPublication
    | CheckForeign
    | StartRenewal
    | MintKey
)
