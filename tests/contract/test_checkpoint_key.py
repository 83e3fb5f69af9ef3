"""Who signs checkpoints, and whom a verifier believes: keys in a file, keys in KMS, and openssl as the third opinion."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bfactors.audit.note import NoteSignature, SignedNote
from bfactors.errors import SettingsError, Unavailable
from bfactors.ports import NoteSigner
from gateways.ca.aws_session import AwsClients, AwsSettings
from gateways.checkpoint.key_file import FileSigner, new_key
from gateways.checkpoint.kms_signer import KmsSigner
from gateways.checkpoint.public_key import Keyring, pem_of, read_keys
from tests.fakes.checkpoint import ORIGIN, signer_in, unsigned

TEXT = unsigned(7).checkpoint.text


def ecdsa_pem() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


async def note_by(*signers: NoteSigner, text: str = TEXT) -> SignedNote:
    signatures = [line for signer in signers for line in await signer.sign(text)]
    return SignedNote(text=text, signatures=tuple(signatures))


@pytest.mark.parametrize("pem", [new_key(), ecdsa_pem()], ids=["ed25519", "ecdsa"])
async def test_what_a_key_signed_is_believed_by_its_public_half(tmp_path: Path, pem: bytes) -> None:
    signer = signer_in(tmp_path / "key", pem)
    note = await note_by(signer)
    (key,) = signer.keys
    for told in (pem_of(key), key.verifier):
        ring = Keyring(read_keys(told, ORIGIN))
        assert ring.keys == [key]
        assert ring.signed_by(note) == [key]
        assert ring.signed_by(SignedNote(text=TEXT + "x\n", signatures=note.signatures)) == ()
    assert not Keyring(signer_in(tmp_path / "other").keys).signed_by(note)


async def test_openssl_believes_it_too(tmp_path: Path) -> None:
    for name, pem, options in (
        ("ed25519", new_key(), ["-rawin"]),
        ("ecdsa", ecdsa_pem(), ["-rawin", "-digest", "sha256"]),
    ):
        signer = signer_in(tmp_path / name, pem)
        (signature,) = await signer.sign(TEXT)
        (tmp_path / "text").write_text(TEXT)
        (tmp_path / "signature").write_bytes(signature.signature)
        (tmp_path / "public.pem").write_text(pem_of(signer.keys[0]))
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "public.pem"]
        command += ["-sigfile", "signature", "-in", "text", *options]
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert "Verified Successfully" in done.stdout, done


async def test_while_a_key_is_replaced_both_sign_and_either_is_enough(tmp_path: Path) -> None:
    old, new = new_key(), ecdsa_pem()
    signer = signer_in(tmp_path / "both", old, new)
    note = await note_by(signer)
    assert len(note.signatures) == 2
    for pem in (old, new):
        alone = signer_in(tmp_path / "one", pem)
        assert Keyring(alone.keys).signed_by(note) == alone.keys


async def test_a_bad_signature_of_a_known_key_spoils_the_whole_note(tmp_path: Path) -> None:
    signer = signer_in(tmp_path / "both", new_key(), new_key())
    note = await note_by(signer)
    bad = NoteSignature(
        name=ORIGIN, key_id=signer.keys[1].key_id, signature=bytes(len(note.signatures[1].signature))
    )
    spoiled = SignedNote(text=TEXT, signatures=(note.signatures[0], bad))
    assert Keyring(signer.keys).signed_by(spoiled) == ()
    assert Keyring(signer.keys[:1]).signed_by(spoiled) == [signer.keys[0]]  # that other key is nobody's


async def test_a_key_under_another_name_is_another_key(tmp_path: Path) -> None:
    pem = new_key()
    ours, theirs = (
        signer_in(tmp_path / "a", pem),
        signer_in(tmp_path / "b", pem, name="other.example/ledger"),
    )
    assert Keyring(ours.keys).signed_by(await note_by(theirs)) == []


def test_a_key_file_that_others_may_read_or_that_holds_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(SettingsError, match="cannot be read"):
        FileSigner.load(path, ORIGIN)
    path.write_bytes(new_key())
    path.chmod(0o640)
    with pytest.raises(SettingsError, match="0640"):
        FileSigner.load(path, ORIGIN)
    rsa_pem = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    damaged = new_key().replace(b"MC4", b"AAA")
    for content, words in ((b"", "no private key"), (rsa_pem, "Ed25519 or ECDSA"), (damaged, "a key in")):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(SettingsError, match=words) as raised:
            FileSigner.load(path, ORIGIN)
        assert content[40:60].decode() not in str(raised.value) or not content
    with pytest.raises(SettingsError, match="cannot name"):
        signer_in(path, name="two words")


@pytest.mark.parametrize("content", ["", "nothing", "a+00000000+AAAA", f"{ORIGIN}+00000000+AQ=="])
def test_what_holds_no_public_key_is_refused(content: str) -> None:
    with pytest.raises(SettingsError):
        read_keys(content, ORIGIN)


# ---------------------------------------------------------------- KMS


class KmsStandIn:
    """GetPublicKey and Sign over AWS's JSON protocol."""

    def __init__(self) -> None:
        self.private = {
            name: ec.generate_private_key(ec.SECP256R1()) for name in ("arn:aws:kms:::key/a", "b")
        }
        self.algorithms = ["ECDSA_SHA_256"]
        self.refusal: str | None = None

    async def answer(self, request: web.Request) -> web.Response:
        operation = request.headers["X-Amz-Target"].removeprefix("TrentService.")
        body: dict[str, Any] = json.loads(await request.text())
        if self.refusal is not None:
            return self._said({"__type": self.refusal, "message": "no"}, 400)
        private = self.private[body["KeyId"]]
        if operation == "GetPublicKey":
            der = private.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            answer = {"PublicKey": base64.b64encode(der).decode(), "SigningAlgorithms": self.algorithms}
            return self._said(answer)
        assert (body["MessageType"], body["SigningAlgorithm"]) == ("RAW", "ECDSA_SHA_256")
        signature = private.sign(base64.b64decode(body["Message"]), ec.ECDSA(hashes.SHA256()))
        return self._said({"Signature": base64.b64encode(signature).decode()})

    def _said(self, answer: dict[str, Any], status: int = 200) -> web.Response:
        return web.json_response(answer, status=status, content_type="application/x-amz-json-1.1")


@pytest.fixture
def kms() -> KmsStandIn:
    return KmsStandIn()


@pytest.fixture
async def client(kms: KmsStandIn) -> AsyncIterator[Any]:
    app = web.Application()
    app.router.add_post("/", kms.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    clients = AwsClients(
        AwsSettings(
            region="eu-central-1",
            endpoint_url=f"http://127.0.0.1:{runner.addresses[0][1]}",
            access_key_id="test",
            secret_access_key="test",
        )
    )
    yield await clients.open("kms")
    await clients.close()
    await runner.cleanup()


async def test_keys_in_kms_sign_as_those_in_a_file_do(client: Any, kms: KmsStandIn) -> None:
    signer = await KmsSigner.open(client, list(kms.private), ORIGIN)
    note = await note_by(signer)
    assert len(signer.keys) == 2
    assert Keyring(signer.keys).signed_by(note) == signer.keys


async def test_kms_that_refuses_is_unavailable_and_a_key_of_another_kind_a_setting_at_fault(
    client: Any, kms: KmsStandIn
) -> None:
    signer = await KmsSigner.open(client, list(kms.private), ORIGIN)
    kms.refusal = "ThrottlingException"
    with pytest.raises(Unavailable, match="ThrottlingException"):
        await signer.sign(TEXT)
    kms.refusal, kms.algorithms = None, ["RSASSA_PSS_SHA_256"]
    with pytest.raises(SettingsError, match="ECDSA_SHA_256"):
        await KmsSigner.open(client, list(kms.private), ORIGIN)
