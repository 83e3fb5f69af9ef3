"""The SECC's leaf of ISO 15118-2, which a car verifies: OCPP's V2GCertificate.

Source: OCPP 2.0.1 part 2, A02 and M section 2 (two to three months, elliptic curves alone), A00.FR.512-514 (no extended key
usage). By Annex F of ISO 15118-2 as public PKIs have it: a P-256 key with SHA-256, CN the SECCID, usage digitalSignature and
keyAgreement, DC=CPO: a leaf without that installs well and fails at the car only; its CSR is refused unless policy takes any.
C is the charger's to put into its CSR and is taken as it comes.
"""

from bfactors.purpose import PurposeSpec

PURPOSE = PurposeSpec(
    name="secc_iso15118_2",
    title="SECC, ISO 15118-2 (V2G)",
    realm="iso15118",
    modes=("managed", "tracked-only"),
    owner="BetterFleet",
    identity_kind="evse",
    anchor_bundle="secc_iso15118_2",
    evidence_rungs=("issued", "installed", "listed"),
    active_rung="listed",
    template="BlankEndEntityCertificate_APIPassthrough/V1",
    template_without_usage="BlankEndEntityCertificate_APIPassthrough/V1",
    key_algorithms=("ec-secp256r1",),
    name_scheme="secc_id",
    domain_component="CPO",
    key_usage=("digital_signature", "key_agreement"),
    client_auth=False,
    policy={"validity_days": 90, "renew_before_days": 30, "key_algorithms": ("ec-secp256r1",)},
)
