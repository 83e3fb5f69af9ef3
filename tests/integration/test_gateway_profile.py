"""Security profiles 2 and 3 over a real socket: who gets in, and what the others are told."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidMessage, InvalidStatus
from websockets.http11 import Response

from bfactors.admission import KnownCredential
from tests.core.x509_maker import NOW, Authority, Pair
from tests.integration.gateway_world import (
    PASSWORD,
    World,
    key_of,
    known,
    new_world,
    world,
)

__all__ = ["world"]
pytestmark = pytest.mark.uvloop


async def refusal(dialling: Any) -> Response:
    with pytest.raises(InvalidStatus) as caught:
        async with dialling:
            pass
    return caught.value.response


async def admitted(world: World, dialling: Any) -> None:
    before = len(world.door.sessions)
    async with dialling:
        await world.door.until(lambda: len(world.door.sessions) > before)


# ---------------------------------------------------------------- profile 2


async def test_a_charger_with_the_right_password_is_admitted_at_profile_2(world: World) -> None:
    world.charger()
    await admitted(world, world.dial_basic())
    info = world.door.sessions[0].info
    assert (info.charger_id, info.security_profile, info.key_generation) == ("CS-1", 2, 1)
    assert (info.ocpp_version, info.fingerprint_sha256, info.remote_address) == ("2.0.1", None, "127.0.0.1")
    assert (info.node, info.incarnation, info.opened_at) == ("node-1", "incarnation-1", NOW)


async def test_wrong_user_and_wrong_password_get_the_same_answer_and_their_own_reason(world: World) -> None:
    world.charger()
    wrong_user = await refusal(world.dial(basic=("CS-1Invalid", PASSWORD)))
    wrong_password = await refusal(world.dial(basic=("CS-1", PASSWORD[:-1])))
    assert wrong_user.status_code == wrong_password.status_code == 401
    assert wrong_user.body == wrong_password.body
    assert wrong_user.headers["WWW-Authenticate"].startswith("Basic ")
    assert [reason for _, reason, _ in world.reports.refused] == [
        "basic-user-mismatch",
        "basic-password-wrong",
    ]
    assert world.door.sessions == []


async def test_no_or_unreadable_basic_credentials_are_refused_with_a_challenge(world: World) -> None:
    world.charger()
    response = await refusal(world.dial())
    assert (response.status_code, "WWW-Authenticate" in response.headers) == (401, True)
    for header in ("Basic", "Basic !!!", "Bearer abc", "Basic " + base64.b64encode(b"no colon").decode()):
        response = await refusal(world.dial(authorization=header))
        assert response.status_code == 401


async def test_a_password_of_any_bytes_is_compared_as_bytes(world: World) -> None:
    secret = b"\xff\x00:\xfe" * 5
    world.charger(keys=(key_of("another-password-0000", 1), key_of(secret, 2, "pending")))
    await admitted(world, world.dial(basic=("CS-1", secret)))
    assert world.door.sessions[0].info.key_generation == 2


async def test_an_unknown_charger_is_not_found(world: World) -> None:
    response = await refusal(world.dial_basic("CS-404"))
    assert response.status_code == 404
    assert world.reports.refused == [("CS-404", "charger-unknown", 404)]


async def test_a_percent_encoded_charger_id_is_decoded_and_a_malformed_one_refused(world: World) -> None:
    world.charger("RDAM 12é")
    await admitted(world, world.dial(path="/ocpp/RDAM%2012%C3%A9", basic=("RDAM 12é", PASSWORD)))
    assert world.door.sessions[0].info.charger_id == "RDAM 12é"
    for path, status in (
        ("/ocpp/a%2Fb", 400),
        ("/ocpp/", 400),
        ("/ocpp/%FF", 400),
        ("/ocpp/" + "x" * 49, 400),
        ("/other/CS-1", 404),
    ):
        assert (await refusal(world.dial(path=path, basic=("CS-1", PASSWORD)))).status_code == status, path


async def test_before_the_first_snapshot_everybody_is_asked_to_come_back(world: World) -> None:
    world.charger()
    world.records.ready = False
    response = await refusal(world.dial_basic())
    assert (response.status_code, "Retry-After" in response.headers) == (503, True)


async def test_a_charger_whose_record_refuses_it_stays_outside_with_the_records_reason(world: World) -> None:
    world.charger(mode="refused", refusal_reason="stolen")
    assert (await refusal(world.dial_basic())).status_code == 403
    assert world.reports.refused == [("CS-1", "stolen", 403)]


async def test_a_lower_profile_is_refused_once_a_higher_one_has_succeeded(world: World) -> None:
    leaf = world.issuing.leaf()
    world.charger("CS-1", (leaf, "active"), profiles=(3,))
    assert (await refusal(world.dial_basic())).status_code == 403
    assert world.reports.refused == [("CS-1", "profile-not-allowed", 403)]
    await admitted(world, world.dial(leaf=leaf))
    assert (await refusal(world.dial_basic())).status_code == 403


# ---------------------------------------------------------------- profile 3


async def test_a_charger_with_its_leaf_is_admitted_at_profile_3(world: World) -> None:
    leaf = world.issuing.leaf()
    world.charger("CS-1", (leaf, "issued"))
    await admitted(world, world.dial(leaf=leaf))
    info = world.door.sessions[0].info
    assert (info.security_profile, info.fingerprint_sha256, info.flags) == (3, leaf.fingerprint, ())
    assert info.certificate_id == f"cert-{leaf.fingerprint[:6]}"


async def test_an_rsa_leaf_is_as_good_as_an_elliptic_one(world: World) -> None:
    leaf = world.issuing.leaf(kind="rsa")
    world.charger("CS-1", (leaf, "active"))
    await admitted(world, world.dial(leaf=leaf))


async def test_a_leaf_alone_is_enough_when_its_issuer_is_trusted(world: World) -> None:
    leaf = world.issuing.leaf()
    world.charger("CS-1", (leaf, "active"))
    alone = Pair(leaf.certificate, leaf.key)
    with pytest.raises((InvalidMessage, ConnectionError, EOFError, OSError)):
        async with world.dial(leaf=alone):
            pass
    world.tls.replace_trust([world.issuing.pair.pem])  # no root at all
    await admitted(world, world.dial(leaf=alone))


async def test_an_expired_leaf_is_told_so_and_may_be_forgiven_for_one_charger(tmp_path: Path) -> None:
    world = new_world(tmp_path)
    await world.start()
    expired = world.issuing.leaf(not_after=NOW - timedelta(days=1))
    world.charger("CS-1", (expired, "active"))
    world.charger("CS-2", (expired, "active"), expired_admitted_until=NOW + timedelta(days=1))
    world.charger("CS-3", (expired, "active"), expired_admitted_until=NOW)
    assert (await refusal(world.dial("CS-3", expired))).status_code == 403
    world.reports.refused.clear()
    assert (await refusal(world.dial("CS-1", expired))).status_code == 403
    assert world.reports.refused == [("CS-1", "leaf-expired", 403)]
    await admitted(world, world.dial("CS-2", expired))
    await world.gateway.stop()


async def test_an_expired_sub_ca_is_not_forgiven_to_anybody(tmp_path: Path) -> None:
    world = new_world(tmp_path)
    await world.start()
    leaf = world.root.sub("Old CA", not_after=NOW - timedelta(seconds=1)).leaf()
    world.charger("CS-1", (leaf, "active"), expired_admitted_until=NOW + timedelta(days=1))
    assert (await refusal(world.dial(leaf=leaf))).status_code == 403
    assert world.reports.refused == [("CS-1", "issuer-expired", 403)]
    await world.gateway.stop()


async def test_another_chargers_certificate_opens_nothing(world: World) -> None:
    own, other = world.issuing.leaf("SN-1"), world.issuing.leaf("SN-2")
    world.charger("CS-1", (own, "active"))
    world.charger("CS-2", (other, "active"), serial_number="SN-2", expected_common_name="SN-2")
    assert (await refusal(world.dial("CS-1", other))).status_code == 403
    assert world.reports.refused == [("CS-1", "credential-unknown", 403)]


@pytest.mark.parametrize("state", ["revoked", "inactive", "rejected", "expired"])
async def test_a_leaf_out_of_use_is_refused_with_its_own_reason(world: World, state: str) -> None:
    leaf = world.issuing.leaf()
    world.charger("CS-1", (leaf, state))
    assert (await refusal(world.dial(leaf=leaf))).status_code == 403
    assert world.reports.refused == [("CS-1", f"credential-{state}", 403)]


async def test_a_superseded_leaf_is_flagged_within_its_grace_and_refused_after_it(world: World) -> None:
    leaf = world.issuing.leaf()

    def superseded(until: timedelta) -> tuple[KnownCredential, ...]:
        return (known(leaf, "superseded", NOW + until),)

    world.charger("CS-1", credentials=superseded(timedelta(hours=1)))
    await admitted(world, world.dial(leaf=leaf))
    assert world.door.sessions[0].info.flags == ("superseded-credential",)
    world.records.edit("CS-1", credentials=superseded(timedelta(0)))
    assert (await refusal(world.dial(leaf=leaf))).status_code == 403
    world.records.edit("CS-1", credentials=(known(leaf, "superseded", None),))
    assert (await refusal(world.dial(leaf=leaf))).status_code == 403
    assert [reason for _, reason, _ in world.reports.refused] == ["credential-superseded"] * 2


@pytest.mark.parametrize(
    ("common_name", "organization", "reason"),
    [
        ("SN-2", "BetterFleet", "common-name-mismatch"),
        ("SN-10", "BetterFleet", "common-name-mismatch"),
        ("SN-1", "Somebody else", "organization-mismatch"),
        ("SN-1", None, "organization-mismatch"),
    ],
)
async def test_the_subject_must_be_the_one_expected_of_this_charger(
    world: World, common_name: str, organization: str | None, reason: str
) -> None:
    leaf = world.issuing.leaf(common_name, organization)
    world.charger("CS-1", (leaf, "active"))
    assert (await refusal(world.dial(leaf=leaf))).status_code == 403
    assert world.reports.refused == [("CS-1", reason, 403)]


async def test_a_record_may_ask_only_that_the_name_is_contained_and_no_organization(world: World) -> None:
    leaf = world.issuing.leaf("ACME SN-1 rev B", "Factory")
    world.charger("CS-1", (leaf, "active"), subject_match="contains", organization=None)
    await admitted(world, world.dial(leaf=leaf))


async def test_a_known_leaf_of_a_ca_no_longer_trusted_is_refused(world: World) -> None:
    leaf = world.issuing.leaf()
    world.charger("CS-1", (leaf, "active"))
    await admitted(world, world.dial(leaf=leaf))
    world.tls.replace_trust([Authority.root("Another root").pair.pem])
    with pytest.raises((InvalidMessage, ConnectionError, EOFError, OSError)):
        async with world.dial(leaf=leaf):
            pass
    await world.reports.wait_for_failures(1)


# ---------------------------------------------------------------- subprotocols and requests


async def test_no_common_subprotocol_is_refused_without_an_upgrade(world: World) -> None:
    world.charger()
    assert (await refusal(world.dial_basic(subprotocols=["ocpp0.1"]))).status_code == 400
    assert (await refusal(world.dial_basic(subprotocols=[]))).status_code == 400
    assert {reason for _, reason, _ in world.reports.refused} == {"no-common-subprotocol"}


async def test_exactly_the_known_subprotocol_is_picked_from_several(world: World) -> None:
    world.charger()
    async with world.dial_basic(subprotocols=["ocpp0.1", "ocpp2.0.1"]) as socket:
        assert socket.subprotocol == "ocpp2.0.1"
        assert socket.response is not None
        assert socket.response.headers.get("Sec-WebSocket-Extensions") is None


async def test_a_plain_port_admits_profiles_0_and_1_only_where_the_record_says_so(tmp_path: Path) -> None:
    world = new_world(tmp_path, with_plain=True)
    await world.start()
    world.charger("CS-0", profiles=(0,), keys=())
    world.charger("CS-1", profiles=(1,))
    world.charger("CS-2", profiles=(2, 3))
    try:
        await admitted(world, world.dial_plain("CS-0"))
        await admitted(world, world.dial_plain("CS-1", basic=("CS-1", PASSWORD)))
        assert [session.info.security_profile for session in world.door.sessions] == [0, 1]
        assert (await refusal(world.dial_plain("CS-1"))).status_code == 403
        assert (
            await refusal(world.dial_plain("CS-1", basic=("CS-1", "wrong-password-00000")))
        ).status_code == 401
        assert (await refusal(world.dial_plain("CS-2", basic=("CS-2", PASSWORD)))).status_code == 403
    finally:
        await world.gateway.stop()
