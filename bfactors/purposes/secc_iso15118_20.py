"""The SECC's leaf of ISO 15118-20, beside that of -2: OCPP 2.1's V2G20Certificate.

Source: OCPP 2.1 part 2, A02.FR.22/23 (a CSR and a leaf of its own). P-521 is its first key kind; the second, Ed448, AWS Private
CA signs for nobody. PKIs in the field use P-256 still, so a policy may name that. The rest is as in -2.
"""

from bfactors.purpose import PurposeSpec

PURPOSE = PurposeSpec(
    name="secc_iso15118_20",
    title="SECC, ISO 15118-20 (V2G)",
    realm="iso15118",
    modes=("managed", "tracked-only"),
    owner="BetterFleet",
    identity_kind="evse",
    anchor_bundle="secc_iso15118_20",
    evidence_rungs=("issued", "installed", "listed"),
    active_rung="listed",
    template="BlankEndEntityCertificate_APIPassthrough/V1",
    template_without_usage="BlankEndEntityCertificate_APIPassthrough/V1",
    key_algorithms=("ec-secp521r1", "ec-secp256r1"),
    name_scheme="secc_id",
    domain_component="CPO",
    key_usage=("digital_signature", "key_agreement"),
    client_auth=False,
    policy={"validity_days": 90, "renew_before_days": 30, "key_algorithms": ("ec-secp521r1",)},
)
