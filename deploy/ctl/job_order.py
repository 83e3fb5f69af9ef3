"""Jobs opened and cancelled: for one charger at once, for many after a look at who they are."""

from bfactors.errors import SettingsError
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, option, word
from deploy.ctl.follow import REASON, WAITING, key_of, order, told
from deploy.ctl.many import MANY, order_many
from deploy.ctl.qualification import ANCHORS, PURPOSE
from deploy.ctl.selection import SELECTING, is_selection

ACTIONS = ("issue", "renew", "revoke", "deactivate", "delete", "install-anchor", "migrate", "rotate-key")
_PURPOSES = {"install-anchor": ANCHORS, "delete": ANCHORS}
"""What an action is about if nobody says; else the certificate that opens sessions."""


def job_body(given: Given, charger_id: str) -> Body:
    """The request for one charger's job."""
    body: Body = {
        "charger_id": charger_id,
        "purpose": given.purpose or _PURPOSES.get(given.job_action, PURPOSE),
        "action": given.job_action,
        "reason": given.reason,
    }
    further = {
        "certificate_id": given.certificate,
        "fingerprint_sha256": given.fingerprint,
        "revocation_reason": given.revocation_reason,
        "target_profile": given.target_profile,
    }
    return body | {name: value for name, value in further.items() if value is not None}


async def _open(desk: Desk, given: Given) -> int:
    if is_selection(given):
        if given.charger is not None:
            raise SettingsError("give either --charger or a selection of many")
        return await order_many(desk, given, lambda charger_id: job_body(given, charger_id))
    if given.charger is None:
        raise SettingsError("for which charger? --charger ID, or --cohort, --family, --from-file ...")
    return await order(desk, given, "/api/v1/jobs", job_body(given, given.charger))


async def _cancel(desk: Desk, given: Given) -> int:
    path = f"/api/v1/jobs/{in_path(given.job)}/cancel"
    job = await desk.client.post(path, {"reason": given.reason}, key_of(given))
    given.wait = False
    return await told(desk, given, job)


COMMANDS = (
    Command(
        thing="jobs",
        action="open",
        help="ask for a job; an open one of the same kind is answered instead",
        example="jobs open renew --charger depot-7-bay-2 --reason 'new key' --wait",
        run=_open,
        arguments=(
            word("job_action", metavar="ACTION", choices=ACTIONS, help=", ".join(ACTIONS)),
            option("--charger", metavar="ID", help="one charger: ordered at once"),
            REASON,
            option("--purpose", metavar="NAME", help=f"default: {PURPOSE}; of anchors {ANCHORS}"),
            option("--certificate", metavar="ID", help="of revoke, deactivate and delete"),
            option("--fingerprint", metavar="HEX", help="of install-anchor and delete: one anchor"),
            option("--revocation-reason", metavar="CODE", help="of revoke"),
            option("--target-profile", type=int, choices=(1, 2, 3), help="of migrate (default: 3)"),
            *WAITING,
            *SELECTING,
            *MANY,
        ),
        more="For many chargers it shows who is meant and what would happen, and does nothing without "
        "--yes. A run may be interrupted and repeated: nothing is ordered twice. Exit status "
        "1 if anything was refused or failed.",
    ),
    Command(
        thing="jobs",
        action="cancel",
        help="give a job up; what is with the CA already is completed and superseded",
        example="jobs cancel JOB_ID --reason 'charger is being replaced'",
        run=_cancel,
        arguments=(word("job", help="its id"), REASON, *WAITING[2:]),
    ),
)
