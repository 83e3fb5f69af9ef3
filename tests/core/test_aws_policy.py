"""The roles of the AWS account do their duty and nothing else, and the linter that says so finds what it is told to find."""

import copy
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfactors.aws_duty import (
    CLIENT,
    CORE,
    DUTIES,
    GET,
    ISSUE,
    MUTATIONS,
    REVOKE,
    WITHOUT_USAGE,
    Duty,
    template_arn,
)
from bfactors.purpose import purposes
from deploy.aws.policy import Request, decide, like
from deploy.aws.policy_lint import objections
from tests.cloudformation import FOLDER, resolved, role_policies, template

ROOT = Path(__file__).parents[2]
REALMS = ("charger-identity", "vehicle-vas", "iso15118", "backend-server")
CA = {
    realm: f"arn:aws:acm-pca:eu-central-1:111122223333:certificate-authority/{at}0000000-0000-0000-0000-000000000000"
    for at, realm in enumerate(REALMS, 1)
}
PARAMETERS = {
    "WorkloadRoleArn": "arn:aws:iam::111122223333:role/core",
    "ChargerCaArn": CA["charger-identity"],
    "ServerCaArn": CA["backend-server"],
    "VehicleCaArn": CA["vehicle-vas"],
    "Iso15118CaArn": CA["iso15118"],
    **{
        f"{realm}{kind}Bucket": f"{realm.lower()}-{kind.lower()}"
        for realm in ("Charger", "Server", "Vehicle", "Iso15118")
        for kind in ("Crl", "Audit")
    },
}
EC_KEY = {
    "acm-pca:x509Key/algorithm": "EC",
    "acm-pca:x509Key/size": "256",
    "acm-pca:x509Key/curve": "P-256",
}

Policy = dict[str, Any]


def shipped(duty: str, **changes: str) -> list[Policy]:
    return role_policies(resolved("roles.yaml", PARAMETERS | changes))[f"betterfleet-{duty}"]


def role_arn(duty: str) -> str:
    return f"arn:aws:iam::111122223333:role/betterfleet-{duty}"


def codes(duty: Duty, policies: list[Policy]) -> set[str]:
    return {found.code for found in objections(duty, policies, CA, role_arn(duty.name))}


def widened(duty: str, *statements: Policy) -> list[Policy]:
    """A shipped role with more attached to it."""
    return [*shipped(duty), {"Version": "2012-10-17", "Statement": list(statements)}]


def issuing(resource: str, name: str, **key: str) -> Request:
    context = {"acm-pca:TemplateArn": template_arn("aws", name), **EC_KEY, **key}
    return Request(action=ISSUE, resource=resource, context=context)


# ---------------------------------------------------------------- what is shipped


@pytest.mark.parametrize("duty", DUTIES.values(), ids=lambda duty: duty.name)
def test_a_shipped_role_can_do_nothing_beyond_its_duty(duty: Duty) -> None:
    assert objections(duty, shipped(duty.name), CA, role_arn(duty.name)) == []


@pytest.mark.parametrize("duty", DUTIES.values(), ids=lambda duty: duty.name)
def test_a_shipped_role_can_do_its_duty(duty: Duty) -> None:
    policies = shipped(duty.name)
    for realm in duty.realms:
        for name in duty.templates:
            assert decide(policies, issuing(CA[realm], name)) == "allowed"
        revoking = Request(action=REVOKE, resource=CA[realm])
        assert (decide(policies, revoking) == "allowed") == duty.revokes
        assert decide(
            policies, Request(action="acm-pca:DescribeCertificateAuthority", resource=CA[realm])
        ) == ("allowed")
    simulated = Request(action="iam:SimulatePrincipalPolicy", resource=role_arn(duty.name))
    assert decide(policies, simulated) == "allowed"


def test_a_template_without_extensions_makes_no_certificate_with_an_extended_key_usage() -> None:
    policies, arn = shipped("charger-issuer"), CA["charger-identity"]
    assert decide(policies, issuing(arn, WITHOUT_USAGE)) == "allowed"
    usage = {"acm-pca:x509Ext/ExtendedKeyUsage": "serverAuth"}
    assert decide(policies, issuing(arn, WITHOUT_USAGE, **usage)) == "explicitDeny"
    usage = {"acm-pca:x509Ext/ExtendedKeyUsage": "clientAuth"}
    assert decide(policies, issuing(arn, CLIENT, **usage)) == "allowed"


def test_during_a_rollover_the_roles_reach_the_next_ca_too_and_no_other() -> None:
    following = CA["charger-identity"].replace("10000000", "90000000")
    assert decide(shipped("charger-issuer"), issuing(following, CLIENT)) == "explicitDeny"
    rolling = shipped("charger-issuer", ChargerNextCaArn=following)
    assert decide(rolling, issuing(following, CLIENT)) == "allowed"
    assert decide(rolling, issuing(CA["charger-identity"], CLIENT)) == "allowed"
    assert decide(rolling, issuing(CA["vehicle-vas"], CLIENT)) == "explicitDeny"
    revoking = Request(action=REVOKE, resource=following)
    assert decide(shipped("revoker", ChargerNextCaArn=following), revoking) == "allowed"


@pytest.mark.parametrize(
    ("key", "decision"),
    [
        ({"acm-pca:x509Key/algorithm": "RSA", "acm-pca:x509Key/size": "3072"}, "allowed"),
        ({"acm-pca:x509Key/algorithm": "RSA", "acm-pca:x509Key/size": "1024"}, "explicitDeny"),
        ({"acm-pca:x509Key/algorithm": "EC", "acm-pca:x509Key/size": "256"}, "explicitDeny"),
        ({"acm-pca:x509Key/algorithm": "ML_DSA_44"}, "explicitDeny"),
    ],
    ids=["rsa-3072", "rsa-1024", "a curve without a name", "an algorithm nobody tested"],
)
def test_weak_and_unknown_keys_are_denied_at_the_ca_as_well(key: dict[str, str], decision: str) -> None:
    context = {
        "acm-pca:TemplateArn": template_arn("aws", "EndEntityClientAuthCertificate/V1"),
        **key,
    }
    request = Request(action=ISSUE, resource=CA["charger-identity"], context=context)
    assert decide(shipped("charger-issuer"), request) == decision


@pytest.mark.parametrize("duty", DUTIES.values(), ids=lambda duty: duty.name)
def test_full_rights_attached_later_make_no_shipped_role_a_maker_of_authorities(duty: Duty) -> None:
    policies = widened(duty.name, {"Effect": "Allow", "Action": "*", "Resource": "*"})
    beyond = codes(duty, policies) - {"wildcard-action", "wildcard-resource"}
    assert beyond == set()


def test_private_keys_can_be_exported_only_where_it_was_asked_for() -> None:
    exporting = Request(
        action="acm:ExportCertificate",
        resource="arn:aws:acm:eu-central-1:111122223333:certificate/1",
    )
    assert decide(shipped("server-certs"), exporting) == "implicitDeny"
    assert decide(shipped("server-certs", ServerKeysMayBeExported="true"), exporting) == "allowed"


def test_a_private_certificate_in_acm_can_be_asked_of_our_own_server_ca_only() -> None:
    def asking(arn: str) -> str:
        resource = "arn:aws:acm:eu-central-1:111122223333:certificate/new"
        request = Request(
            action="acm:RequestCertificate",
            resource=resource,
            context={"acm:CertificateAuthority": arn},
        )
        return decide(shipped("server-certs"), request)

    assert [asking(CA["backend-server"]), asking(CA["charger-identity"])] == ["allowed", "implicitDeny"]


def test_realms_that_are_not_there_leave_no_role_and_no_empty_resource() -> None:
    roles = role_policies(resolved("roles.yaml", PARAMETERS | {"VehicleCaArn": "", "Iso15118CaArn": ""}))
    assert "betterfleet-vehicle-issuer" not in roles
    assert "betterfleet-revoker" in roles
    assert '""' not in json.dumps(roles)
    assert ":::/" not in json.dumps(roles)


def test_every_purposes_realm_can_be_made_and_firmware_signings_cannot() -> None:
    allowed = template("realm.yaml")["Parameters"]["Realm"]["AllowedValues"]
    assert {spec.realm for spec in purposes().values()} <= set(allowed)
    assert set(allowed) == set(REALMS)
    assert not any("firmware" in realm for realm in allowed)


def test_every_purpose_issues_with_the_template_its_role_is_held_to() -> None:
    for spec in purposes().values():
        duties = [duty for duty in DUTIES.values() if duty.templates and spec.realm in duty.realms]
        assert any(spec.template in duty.templates for duty in duties) or spec.realm == "iso15118"


def test_a_realms_ca_has_a_closed_bucket_for_its_lists_and_outlives_its_stack() -> None:
    resources = resolved("realm.yaml", {"Realm": "charger-identity"})
    buckets = [r for r in resources.values() if r["Type"] == "AWS::S3::Bucket"]
    assert len(buckets) == 2
    for bucket in buckets:
        assert all(bucket["Properties"]["PublicAccessBlockConfiguration"].values())
    for resource in resources.values():
        if resource["Type"] in ("AWS::S3::Bucket", "AWS::ACMPCA::CertificateAuthority"):
            assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"
    assert "CertificateManagerMayIssue" not in resources
    assert "CertificateManagerMayIssue" in resolved("realm.yaml", {"Realm": "backend-server"})


def test_the_policy_in_the_documentation_passes_the_same_rules() -> None:
    page = (ROOT / "docs" / "aws.md").read_text(encoding="utf-8")
    blocks = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    policies = [block for block in blocks if "Statement" in block]
    text = json.dumps(policies)
    text = text.replace("CHARGER-CA-ARN", CA["charger-identity"]).replace(
        "SERVER-CA-ARN", CA["backend-server"]
    )
    assert len(policies) == 1
    assert objections(CORE, json.loads(text), CA, role_arn("core")) == []


def test_the_templates_pass_cfn_lint() -> None:
    beside = Path(sys.executable).with_name("cfn-lint")
    linter = str(beside) if beside.exists() else shutil.which("cfn-lint")
    if linter is None:
        pytest.skip("cfn-lint is in requirements-dev.txt, but not in this environment")
    files = [str(path) for path in sorted(FOLDER.glob("*.yaml"))]
    assert files
    ran = subprocess.run(
        [linter, "--regions", "eu-central-1", "--", *files], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout


# ---------------------------------------------------------------- what the linter finds

ALLOW_CREATE = {"Sid": "Add", "Effect": "Allow", "Action": MUTATIONS[0], "Resource": "*"}


def bare(*statements: Policy) -> list[Policy]:
    """A role without a fence."""
    return [{"Version": "2012-10-17", "Statement": list(statements)}]


def issue_statement(resource: str, **condition: Any) -> Policy:
    statement: Policy = {"Sid": "Issue", "Effect": "Allow", "Action": ISSUE, "Resource": resource}
    return statement | ({"Condition": condition} if condition else {})


CLIENT_ARN = template_arn("aws", "EndEntityClientAuthCertificate/V1")
WRONG = {
    "creates a CA": (bare(ALLOW_CREATE), "could-change-authorities"),
    "changes its own CA": (
        bare(ALLOW_CREATE | {"Action": MUTATIONS[1], "Resource": CA["charger-identity"]}),
        "could-change-authorities",
    ),
    "another realm's CA": (
        bare(issue_statement(CA["vehicle-vas"], StringEquals={"acm-pca:TemplateArn": CLIENT_ARN})),
        "could-use-foreign-authority",
    ),
    "reads another realm's certificates": (
        bare({"Effect": "Allow", "Action": GET, "Resource": CA["backend-server"]}),
        "could-use-foreign-authority",
    ),
    "any CA there will ever be": (
        bare(
            issue_statement(
                "arn:aws:acm-pca:*:*:certificate-authority/*",
                StringEquals={"acm-pca:TemplateArn": CLIENT_ARN},
            )
        ),
        "could-use-foreign-authority",
    ),
    "a wildcard in a CA's ARN": (
        bare(
            issue_statement(
                "arn:aws:acm-pca:eu-central-1:111122223333:certificate-authority/1*",
                StringEquals={"acm-pca:TemplateArn": CLIENT_ARN},
            )
        ),
        "wildcard-resource",
    ),
    "any template": (bare(issue_statement(CA["charger-identity"])), "could-use-ca-template"),
    "no template named": (bare(issue_statement(CA["charger-identity"])), "template-not-pinned"),
    "a template by pattern": (
        bare(
            issue_statement(
                CA["charger-identity"],
                StringLike={"acm-pca:TemplateArn": "arn:aws:acm-pca:::template/*"},
            )
        ),
        "could-use-ca-template",
    ),
    "a pattern that lets passthrough in": (
        bare(
            issue_statement(
                CA["charger-identity"],
                StringLike={"acm-pca:TemplateArn": "arn:aws:acm-pca:::template/*EndEntity*"},
            )
        ),
        "could-issue-otherwise",
    ),
    "only CA templates denied, with a condition for another key": (
        bare(
            issue_statement(
                CA["charger-identity"],
                StringNotEquals={"acm-pca:TemplateArn": "arn:aws:acm-pca:::template/X"},
            )
        ),
        "could-use-ca-template",
    ),
    "revokes": (
        bare({"Effect": "Allow", "Action": REVOKE, "Resource": CA["charger-identity"]}),
        "could-revoke",
    ),
    "every action of the service": (
        bare({"Effect": "Allow", "Action": "acm-pca:*", "Resource": CA["charger-identity"]}),
        "wildcard-action",
    ),
    "every resource": (bare({"Effect": "Allow", "Action": GET, "Resource": "*"}), "wildcard-resource"),
    "everything but": (
        bare({"Effect": "Allow", "NotAction": "iam:*", "Resource": CA["charger-identity"]}),
        "inverted-element",
    ),
    "everywhere but": (
        bare({"Effect": "Allow", "Action": GET, "NotResource": CA["backend-server"]}),
        "inverted-element",
    ),
    "gives itself more": (
        bare({"Effect": "Allow", "Action": "iam:PutRolePolicy", "Resource": role_arn("charger-issuer")}),
        "could-widen-itself",
    ),
    "no fence": (
        bare(issue_statement(CA["charger-identity"], StringEquals={"acm-pca:TemplateArn": CLIENT_ARN})),
        "not-denied-outright",
    ),
    "a condition nobody here can judge": (
        bare(
            issue_statement(CA["charger-identity"], DateLessThan={"aws:CurrentTime": "2030-01-01T00:00:00Z"})
        ),
        "could-use-ca-template",
    ),
}


@pytest.mark.parametrize(("policies", "code"), WRONG.values(), ids=list(WRONG))
def test_the_linter_finds(policies: list[Policy], code: str) -> None:
    assert code in codes(DUTIES["charger-issuer"], policies)


@pytest.mark.parametrize("duty", ["revoker", "auditor"])
def test_the_linter_finds_one_who_issues_without_being_an_issuer(duty: str) -> None:
    policies = bare(issue_statement(CA["charger-identity"], StringEquals={"acm-pca:TemplateArn": CLIENT_ARN}))
    assert "could-issue-otherwise" in codes(DUTIES[duty], policies)


@pytest.mark.parametrize("duty", DUTIES.values(), ids=lambda duty: duty.name)
def test_every_deny_of_a_shipped_role_that_is_needed_is_missed_when_it_is_gone(duty: Duty) -> None:
    """Take the fence away and the same questions are answered otherwise: the rules look at Deny, not only at Allow."""
    without = [copy.deepcopy(policy) for policy in shipped(duty.name)]
    for policy in without:
        policy["Statement"] = [s for s in policy["Statement"] if s["Effect"] == "Allow"]
    assert "not-denied-outright" in codes(duty, without)


# ---------------------------------------------------------------- how it decides


@given(
    st.sampled_from(["Allow", "Deny"]), st.sampled_from(["acm-pca:*", "*", ISSUE, "acm-pca:Issue?ertificate"])
)
def test_a_deny_wins_over_any_allow(effect: str, action: str) -> None:
    first = {"Effect": effect, "Action": action, "Resource": "*"}
    second = {"Effect": "Deny", "Action": action, "Resource": "*"}
    request = issuing(CA["charger-identity"], "RootCACertificate/V1")
    assert decide(bare(first, second), request) == "explicitDeny"
    assert decide(bare(second, first), request) == "explicitDeny"


@given(st.text("ab*?:/", max_size=8), st.text("ab:/", max_size=8))
def test_patterns_agree_with_a_plain_definition(pattern: str, text: str) -> None:
    def matches(left: str, right: str) -> bool:
        if not left:
            return not right
        if left[0] == "*":
            return any(matches(left[1:], right[at:]) for at in range(len(right) + 1))
        return bool(right) and left[0] in ("?", right[0]) and matches(left[1:], right[1:])

    assert like(pattern, text) == matches(pattern, text)


@pytest.mark.parametrize(
    ("operator", "value", "present", "absent"),
    [
        ("StringEquals", "x", True, False),
        ("StringEqualsIfExists", "x", True, True),
        ("StringNotEquals", "x", False, True),
        ("StringLike", "x*", True, False),
        ("StringNotLike", "y*", True, True),
        ("Null", "true", False, True),
        ("Null", "false", True, False),
    ],
)
def test_a_key_that_is_absent_is_judged_as_aws_judges_it(
    operator: str, value: str, present: bool, absent: bool
) -> None:
    statement = {"Effect": "Allow", "Action": GET, "Resource": "*", "Condition": {operator: {"k:k": value}}}
    for context, expected in (({"K:k": "x"}, present), ({}, absent)):
        decision = decide(bare(statement), Request(action=GET, resource="r", context=context))
        assert (decision == "allowed") == expected
