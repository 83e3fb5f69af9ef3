"""What exactly leaves for AWS: parameters that never change, roles, a pace below the quota; and what is found at start."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfactors import command as c
from bfactors.ca import Permanent, SigningOrder, Transient
from bfactors.fleet import decide as fleet
from bfactors.fleet.state import FleetState
from bfactors.x509 import is_root, parse_certificate, parse_certificates
from gateways.ca.aws_private_ca import colon_hex, signing_parameters
from gateways.ca.discovery import discover
from simulator.aws import Role
from tests.contract.test_ca_aws import REALM, aws_settings, aws_side, made, order_for
from tests.core import pki
from tests.fakes.ca import FakeCa, LeapingTime

# ---------------------------------------------------------------- parameters


async def test_an_order_sent_again_is_the_same_request_to_the_byte(tmp_path: Path) -> None:
    async with aws_side(tmp_path) as side:
        order = order_for(side)
        await side.lose_next_answer("issue")
        with pytest.raises(Transient):
            await side.ca.issue(order)
        for _ in range(3):
            side.time.leap(60)
            await side.ca.issue(order)
        calls = await side.log("IssueCertificate")
        assert len(calls) == 4
        assert len({call["parameter_hash"] for call in calls}) == 1
        assert len({call["certificate_arn"] for call in calls}) == 1
        assert {call["token"] for call in calls} == {order.token}
        stats = await side.stats()
    assert stats["token_conflicts"] == []
    assert stats["keys_certified_repeatedly"] == []
    assert {call["template"] for call in calls} == {"EndEntityClientAuthCertificate"}


@pytest.mark.parametrize(
    ("arn", "template_arn"),
    [
        ("arn:aws:acm-pca:eu-central-1:1:certificate-authority/a", "arn:aws:acm-pca:::template/T/V1"),
        ("arn:aws-cn:acm-pca:cn-north-1:1:certificate-authority/a", "arn:aws-cn:acm-pca:::template/T/V1"),
        (
            "arn:aws-us-gov:acm-pca:us-gov-west-1:1:certificate-authority/a",
            "arn:aws-us-gov:acm-pca:::template/T/V1",
        ),
    ],
)
def test_the_template_is_named_in_the_partition_of_the_authority(arn: str, template_arn: str) -> None:
    parameters = signing_parameters(_order(authority_arn=arn))
    assert parameters["TemplateArn"] == template_arn


def test_dates_are_absolute_whole_seconds() -> None:
    parameters = signing_parameters(_order())
    assert parameters["ValidityNotBefore"] == {"Type": "ABSOLUTE", "Value": 1767225600}
    assert parameters["Validity"] == {"Type": "ABSOLUTE", "Value": 1769817600}


def test_a_token_longer_than_the_service_takes_never_leaves() -> None:
    assert signing_parameters(_order(token="t" * 36))["IdempotencyToken"] == "t" * 36
    for token in ("", "t" * 37):
        with pytest.raises(Permanent):
            signing_parameters(_order(token=token))


@given(st.integers(min_value=1, max_value=2**160 - 1))
def test_a_serial_number_keeps_its_value_in_pairs_of_hex_digits(number: int) -> None:
    text = colon_hex(f"{number:x}")
    pairs = text.split(":")
    assert all(len(pair) == 2 for pair in pairs)
    assert int("".join(pairs), 16) == number
    assert len(text) <= 128


@pytest.mark.parametrize("text", ["", "xyz", "12:34"])
async def test_a_serial_number_that_is_no_hex_is_refused_before_a_call(tmp_path: Path, text: str) -> None:
    with pytest.raises(Permanent):
        colon_hex(text)


async def test_a_reason_the_service_does_not_know_is_refused_before_a_call(tmp_path: Path) -> None:
    async with aws_side(tmp_path) as side:
        with pytest.raises(Permanent):
            await side.ca.revoke(side.arn, "abc", "boredom")
        assert await side.log("RevokeCertificate") == []


def _order(**changes: str) -> SigningOrder:
    values = {
        "authority_arn": "arn:aws:acm-pca:eu-central-1:1:certificate-authority/a",
        "token": "t",
        "csr_pem": "c",
        "template": "T/V1",
        "signing_algorithm": "SHA256WITHECDSA",
    } | changes
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    return SigningOrder(**values, not_before=begin, not_after=begin + timedelta(days=30), call_before=begin)


# ---------------------------------------------------------------- roles

ISSUER = Role(
    "charger-issuer",
    frozenset({"IssueCertificate", "GetCertificate"}),
    frozenset({REALM}),
    frozenset({"EndEntityClientAuthCertificate"}),
)
ISSUER_ARN = "arn:aws:iam::123456789012:role/charger-issuer"


async def test_calls_are_made_in_the_role_that_was_assumed_once(tmp_path: Path) -> None:
    async with aws_side(tmp_path, roles=(ISSUER,), settings={"role_arn": ISSUER_ARN}) as side:
        await made(side)
        await made(side, token="another")
        assert {call["caller"] for call in await side.log("IssueCertificate")} == {"charger-issuer"}
        assert len(await side.log("AssumeRole")) == 1
        with pytest.raises(Permanent) as raised:
            await side.ca.revoke(side.arn, "abc", "superseded")
        assert raised.value.code == "AccessDeniedException"
        with pytest.raises(Permanent, match="CA policy denied"):
            await side.ca.issue(order_for(side, token="ca", template="SubordinateCACertificate_PathLen0/V1"))


async def test_a_role_that_may_not_be_assumed_holds_the_call_back_and_condemns_nothing(
    tmp_path: Path,
) -> None:
    nobody = "arn:aws:iam::123456789012:role/nobody"
    async with aws_side(tmp_path, roles=(ISSUER,), settings={"role_arn": nobody}) as side:
        with pytest.raises(Transient, match="could not be assumed") as raised:
            await side.ca.issue(order_for(side))
        assert raised.value.code == "AccessDenied"
        assert raised.value.retry_after_s == 30
        assert not raised.value.may_have_happened
        assert await side.issued() == 0


async def test_a_session_near_its_end_is_replaced_before_it_lapses(tmp_path: Path) -> None:
    settings = {"role_arn": ISSUER_ARN, "role_session_s": 900}  # within the time in which a new one is due
    async with aws_side(tmp_path, roles=(ISSUER,), settings=settings) as side:
        for token in ("one", "two"):
            await side.ca.issue(order_for(side, token=token))
        assert len(await side.log("AssumeRole")) > 1
        assert {call["outcome"] for call in await side.log("IssueCertificate")} == {"ok"}


def test_a_secret_key_is_not_shown_with_the_settings() -> None:
    assert "unused" not in repr(aws_settings("http://localhost"))


async def test_no_csr_and_no_session_token_is_logged_even_at_debug(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with aws_side(tmp_path, roles=(ISSUER,), settings={"role_arn": ISSUER_ARN}) as side:
        order = order_for(side)
        await side.ca.issue(order)
    assert order.csr_pem.splitlines()[1] not in caplog.text
    assert "SessionToken" not in caplog.text
    assert "X-Amz-Security-Token" not in caplog.text


# ---------------------------------------------------------------- pace


async def test_a_crowd_of_orders_never_exceeds_the_pace_and_is_never_throttled(tmp_path: Path) -> None:
    async with aws_side(tmp_path, calls_per_s=15.0, quotas_per_s={"IssueCertificate": 15}) as side:
        began = side.time.elapsed_s
        await asyncio.gather(*(side.ca.issue(order_for(side, token=f"t{n}")) for n in range(60)))
        took_s = side.time.elapsed_s - began
        outcomes = [call["outcome"] for call in await side.log("IssueCertificate")]
    assert outcomes == ["ok"] * 60
    assert took_s >= (60 - 7.5) / 15 - 0.1


# ---------------------------------------------------------------- what is found at start


@pytest.mark.parametrize(
    ("key_algorithm", "signing_algorithm"),
    [("EC_prime256v1", "SHA256WITHECDSA"), ("RSA_2048", "SHA256WITHRSA")],
)
async def test_an_authority_becomes_a_command_the_ledger_takes(
    tmp_path: Path, key_algorithm: str, signing_algorithm: str
) -> None:
    async with aws_side(tmp_path, key_algorithm=key_algorithm) as side:
        found, failed = await discover(side.ca, {"charging_station": side.arn})
        assert failed == []
        (discovered,) = found
        command = discovered.command
        assert (command.authority_arn, command.signing_algorithm) == (side.arn, signing_algorithm)
        assert command.chain_pem == ""
        assert discovered.root_pem is not None
        assert is_root(parse_certificate(discovered.root_pem))
        assert len(parse_certificates(command.certificate_pem)) == 1
        decided = fleet.decide_command(FleetState(), command, "system", side.time.now())
        assert decided.refusal is None
        bundle = c.CreateTrustAnchorBundle(
            bundle_id="b", purpose="charging_station", anchors_pem=(discovered.root_pem,)
        )
        assert fleet.decide_command(decided.state, bundle, "system", side.time.now()).refusal is None
        signed = await side.ca.issue(order_for(side, signing_algorithm=command.signing_algorithm))
        assert signed.startswith(side.arn)


async def test_an_authority_that_is_its_own_root_is_found_too(tmp_path: Path) -> None:
    async with aws_side(tmp_path) as side:
        root_arn = side.peer.arns[REALM].root_arn
        described = await side.ca.describe(root_arn)
    assert described.root_pem == described.certificate_pem
    assert described.issuers_pem == ""


async def test_one_authority_that_does_not_answer_hides_no_other() -> None:
    ca = FakeCa(LeapingTime())
    found, failed = await discover(ca, {"backend_server": ca.arn + "x", "charging_station": ca.arn})
    assert [one.command.purpose for one in found] == ["charging_station"]
    assert [(one.purpose, one.error.code) for one in failed] == [
        ("backend_server", "ResourceNotFoundException")
    ]
    assert found[0].root_pem == pki.ca().root_pem
