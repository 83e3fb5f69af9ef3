"""Certificates: the list, and one with its evidence."""

from collections.abc import Iterator

from deploy.ctl import cell
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, Thing, option, word
from deploy.ctl.follow import REASON, WAITING, order
from deploy.ctl.listing import Listing, listing_command
from deploy.ctl.report import wrapped

THING = Thing("certificates", "list, show, revoke and deactivate certificates", ("certificate",))

CERTIFICATES = Listing(
    "/api/v1/certificates",
    ("certificate", "charger", "purpose", "state", "ends"),
    lambda body: (
        body["certificate_id"],
        cell.text(body["charger_id"]),
        body["purpose"],
        body["state"] + (", stale" if body["stale"] else ""),
        cell.day(body["not_after"]),
    ),
    frozenset({0, 1, 4}),
)


_PATH = "/api/v1/certificates"
REVOCATION_REASONS = (
    "key_compromise",
    "superseded",
    "cessation_of_operation",
    "privilege_withdrawn",
    "affiliation_changed",
    "unspecified",
)


async def _show(desk: Desk, given: Given) -> int:
    found = await desk.client.get(f"/api/v1/certificates/{in_path(given.certificate)}")
    desk.paper.document(found)
    if given.pem:
        desk.paper.say([line for line in found["pem"].splitlines() if line])
        return 0
    for label, text in _facts(found):
        desk.paper.say(wrapped(f"{label:<14}", text, desk.paper.columns))
    return 0


async def _revoke(desk: Desk, given: Given) -> int:
    body: Body = {"reason": given.reason, "comment": given.comment}
    body |= {name: True for name in ("replace", "delete") if getattr(given, name)}
    return await order(desk, given, f"{_PATH}/{in_path(given.certificate)}/revoke", body)


async def _deactivate(desk: Desk, given: Given) -> int:
    path = f"{_PATH}/{in_path(given.certificate)}/deactivate"
    return await order(desk, given, path, {"reason": given.reason})


def _facts(found: Body) -> Iterator[tuple[str, str]]:
    yield "certificate", found["certificate_id"]
    yield "state", f"{found['state']}, {found['mode']}" + (", STALE" if found["stale"] else "")
    yield "what", f"{found['purpose']} {found['variant']} of {cell.text(found['charger_id'])}"
    yield "subject", found["subject"]
    yield "issuer", found["issuer"]
    yield "serial", found["serial_number"]
    yield "fingerprint", found["fingerprint_sha256"]
    yield "valid", f"{cell.second(found['not_before'])} to {cell.second(found['not_after'])}"
    yield "authority", found["authority"]
    if found["external_ref"]:
        yield "reference", found["external_ref"]
    for name in ("issued_at", "installed_at", "activated_at", "revocation_requested_at", "revoked_at"):
        if found.get(name):
            yield (
                name.removesuffix("_at").replace("revocation_requested", "to revoke"),
                cell.second(found[name]),
            )
    revocation = found.get("revocation") or {}
    for name, label in (
        ("refused_at_edge_at", "refused"),
        ("ca_revoked_at", "at the CA"),
        ("published_at", "published"),
    ):
        if revocation:
            yield label, cell.second(revocation[name]) if revocation[name] else "not yet"
    for name in ("replacement_job_id", "deletion_job_id"):
        if revocation.get(name):
            yield name.partition("_")[0], revocation[name]
    if revocation.get("unpublished"):
        yield "why", cell.reason(revocation["unpublished"])
    if found.get("admit_until"):
        yield "admitted", f"until {cell.second(found['admit_until'])}"
    for each in found["evidence"]:
        kind = each.get("event") or each.get("kind") or each.get("evidence_type") or "evidence"
        at = each.get("at") or each.get("recorded_at") or each.get("observed_at")
        yield "evidence", f"{cell.second(at)} {kind}"


COMMANDS = (
    listing_command(
        "certificates",
        CERTIFICATES,
        (
            option("--charger-id", metavar="ID"),
            option("--managed-identity-id", metavar="ID"),
            option("--purpose", metavar="NAME"),
            option("--state", metavar="STATE", help="as in docs/concepts.md"),
            option("--mode", choices=("managed", "brokered", "tracked-only")),
            option("--realm", metavar="NAME"),
            option("--expires-before", metavar="TIME", help="2027-01-31T00:00:00Z"),
            option("--fingerprint-sha256", metavar="HEX"),
            option("--serial-number", metavar="HEX"),
            option("--q", metavar="TEXT", help="part of an id, serial number, fingerprint or authority"),
        ),
        says="list certificates, soonest end first",
        example="certificates list --expires-before 2027-01-31T00:00:00Z",
    ),
    Command(
        thing="certificates",
        action="show",
        help="show one certificate and the evidence for it",
        example="certificates show CERTIFICATE_ID --pem",
        run=_show,
        arguments=(
            word("certificate", help="its id"),
            option("--pem", action="store_true", help="nothing but the certificate itself"),
        ),
    ),
    Command(
        thing="certificates",
        action="revoke",
        help="revoke a certificate at its CA and refuse it at once; cannot be taken back",
        example="certificates revoke CERTIFICATE_ID --reason key_compromise --wait",
        run=_revoke,
        arguments=(
            word("certificate", help="its id"),
            option("--reason", required=True, choices=REVOCATION_REASONS, help="as the CA is told it"),
            option("--comment", absent="", metavar="TEXT", help="for people"),
            option("--replace", action="store_true", help="order another one at once"),
            option("--delete", action="store_true", help="have it deleted on the charger, if that can"),
            *WAITING,
        ),
        more="The charger's session is cut. A charger whose only credential this is cannot come "
        "back by itself: order another one first if it can still be reached. Neither --replace nor "
        "--delete holds the revocation up; the certificate names their jobs.",
    ),
    Command(
        thing="certificates",
        action="deactivate",
        help="take a certificate out of its slot without revoking it; starts no renewal",
        example="certificates deactivate CERTIFICATE_ID --reason 'in the workshop'",
        run=_deactivate,
        arguments=(word("certificate", help="its id"), REASON, *WAITING),
    ),
)
