"""The central system's own server certificates, and the anchors chargers verify them with. Source: A00.FR.510."""

from bfactors.purpose import PurposeSpec

PURPOSE = PurposeSpec(
    name="backend_server",
    title="Back-end server certificate",
    realm="backend-server",
    modes=("managed", "tracked-only"),
    owner="BetterFleet",
    identity_kind="server",
    anchor_bundle=None,
    evidence_rungs=("issued", "installed", "seen-live"),
    active_rung="seen-live",
    template="EndEntityServerAuthCertificate/V1",
    client_auth=False,
    server_auth=True,
    subject_fields=("common_name",),
)
