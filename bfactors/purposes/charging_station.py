"""Charger identity: the client certificate of OCPP security profile 3. Source: A00.FR.403-405, A00.FR.511, A02."""

from bfactors.purpose import PurposeSpec

PURPOSE = PurposeSpec(
    name="charging_station",
    title="Charger identity (OCPP security profile 3)",
    realm="charger-identity",
    modes=("managed", "tracked-only"),
    owner="BetterFleet",
    identity_kind="charger",
    anchor_bundle="backend_server",
    evidence_rungs=("issued", "installed", "seen-live"),
    active_rung="seen-live",
    template="EndEntityClientAuthCertificate/V1",
    template_without_usage="BlankEndEntityCertificate_APIPassthrough/V1",
    is_session_credential=True,
)
