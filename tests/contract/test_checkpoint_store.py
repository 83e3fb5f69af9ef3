"""One contract, two places for checkpoints: a directory of files only appended to, and a bucket behind real HTTP."""

import os
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bfactors.errors import Unavailable
from bfactors.ports import CheckpointStore
from gateways.checkpoint.directory_store import DirectoryCheckpoints
from gateways.checkpoint.s3_store import S3Checkpoints, S3CheckpointSettings
from tests.fakes.checkpoint import AT, ORIGIN, signer_in, unsigned
from tests.fakes.log_bucket import FakeBucket
from tests.integration.admin_world import HandClock


@pytest.fixture
async def bucket() -> AsyncIterator[FakeBucket]:
    async with FakeBucket().served() as bucket:
        yield bucket


async def s3_store(bucket: FakeBucket, retain_days: int = 0) -> S3Checkpoints:
    store = S3Checkpoints(
        S3CheckpointSettings(
            bucket=bucket.name,
            region="eu-central-1",
            prefix="fleet/ledger",
            retain_days=retain_days,
            endpoint_url=bucket.url,
            access_key_id="id",
            secret_access_key="secret",
            attempts=1,
        ),
        HandClock(),
    )
    await store.start()
    return store


@pytest.fixture(params=["directory", "s3"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, bucket: FakeBucket
) -> AsyncIterator[CheckpointStore]:
    if request.param == "directory":
        yield DirectoryCheckpoints(tmp_path / "checkpoints")
        return
    s3 = await s3_store(bucket)
    yield s3
    await s3.close()


async def test_what_was_appended_is_held_by_size(store: CheckpointStore) -> None:
    for size in (7, 300, 12, 5000):
        await store.append(unsigned(size))
    assert await store.held(ORIGIN, 3, 0) == [unsigned(size) for size in (7, 12, 300, 5000)]
    assert await store.held(ORIGIN, 3, 12) == [unsigned(size) for size in (12, 300, 5000)]
    assert await store.held(ORIGIN, 3, 5001) == []


async def test_partitions_and_origins_are_kept_apart(store: CheckpointStore) -> None:
    await store.append(unsigned(7))
    await store.append(unsigned(8, partition=4))
    await store.append(unsigned(9, origin="other.example/ledger"))
    assert await store.held(ORIGIN, 3, 0) == [unsigned(7)]
    assert await store.held(ORIGIN, 4, 0) == [unsigned(8, partition=4)]
    assert await store.held(ORIGIN, 5, 0) == []


async def test_the_same_again_does_no_harm_and_a_fork_lies_beside_the_first(store: CheckpointStore) -> None:
    for _ in range(2):
        await store.append(unsigned(7))
    await store.append(unsigned(7, fork=True))
    held = await store.held(ORIGIN, 3, 0)
    assert len(held) == 2
    assert {signed.checkpoint.root_hash for signed in held} == {
        unsigned(7).checkpoint.root_hash,
        unsigned(7, fork=True).checkpoint.root_hash,
    }


async def test_one_that_is_written_late_is_found_among_the_others(store: CheckpointStore) -> None:
    june = datetime(2026, 6, 1, tzinfo=UTC)
    await store.append(unsigned(50, at=AT))
    await store.append(unsigned(90, at=june))
    await store.append(unsigned(60, at=june))  # copied after a loss
    sizes = [signed.checkpoint.size for signed in await store.held(ORIGIN, 3, 55)]
    assert sizes == [60, 90]
    assert len(await store.held(ORIGIN, 3, 0)) == 3


async def test_keys_lie_beside_the_checkpoints_once(
    store: CheckpointStore, tmp_path: Path, bucket: FakeBucket
) -> None:
    (key,) = signer_in(tmp_path / "key").keys
    for _ in range(2):
        await store.keep_key(key)
    name = f"key-{key.fingerprint_sha256}.pem"
    files = {path.name: path.read_bytes() for path in (tmp_path / "checkpoints").glob("*")}
    objects = {path.removeprefix("fleet/ledger/"): content for path, content in bucket.objects.items()}
    found = files | objects
    assert list(found) == [name]
    assert found[name].startswith(b"-----BEGIN PUBLIC KEY-----")
    assert await store.held(ORIGIN, 3, 0) == []


# ---------------------------------------------------------------- the directory alone


async def test_a_note_half_written_is_passed_over_and_what_follows_is_read(tmp_path: Path) -> None:
    store = DirectoryCheckpoints(tmp_path)
    await store.append(unsigned(7))
    path = tmp_path / "checkpoint-03-2026-03.txt"
    whole = path.read_bytes()
    for cut in range(1, len(whole)):
        path.write_bytes(whole + whole[:cut])
        await store.append(unsigned(9))
        sizes = {signed.checkpoint.size for signed in await store.held(ORIGIN, 3, 0)}
        assert sizes == {7, 9}, cut


async def test_files_are_for_their_owner_and_only_grow(tmp_path: Path) -> None:
    store = DirectoryCheckpoints(tmp_path / "checkpoints")
    await store.append(unsigned(7))
    (path,) = (tmp_path / "checkpoints").glob("*")
    assert path.name == "checkpoint-03-2026-03.txt"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    before, node = path.read_bytes(), path.stat().st_ino
    await store.append(unsigned(8))
    assert path.read_bytes().startswith(before)
    assert path.stat().st_ino == node


async def test_a_directory_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = DirectoryCheckpoints(tmp_path / "file")
    with pytest.raises(Unavailable, match="checkpoint directory"):
        await store.append(unsigned(7))
    link = tmp_path / "checkpoint-03-2026-03.txt"
    os.symlink(tmp_path / "elsewhere", link)
    with pytest.raises(Unavailable):
        await DirectoryCheckpoints(tmp_path).append(unsigned(7))
    assert not (tmp_path / "elsewhere").exists()


# ---------------------------------------------------------------- the bucket alone


async def test_objects_are_locked_when_settings_ask_for_it(bucket: FakeBucket) -> None:
    store = await s3_store(bucket, retain_days=365)
    await store.append(unsigned(7))
    ((name, headers),) = bucket.headers.items()
    assert name.startswith(f"fleet/ledger/{ORIGIN}/03/{7:018d}-")
    assert headers["x-amz-object-lock-mode"] == "COMPLIANCE"
    assert headers["x-amz-object-lock-retain-until-date"].startswith("2027-03-01T12:00:00")
    assert headers["if-none-match"] == "*"
    assert headers["x-amz-checksum-sha256"]
    await store.close()


async def test_without_a_lock_none_is_asked_for(bucket: FakeBucket) -> None:
    store = await s3_store(bucket)
    await store.append(unsigned(7))
    ((_, headers),) = bucket.headers.items()
    assert not any(name.startswith("x-amz-object-lock") for name in headers)
    await store.close()


@pytest.mark.parametrize("refused", ["PutObject", "ListObjectsV2", "GetObject"])
async def test_a_refusing_bucket_is_unavailable(bucket: FakeBucket, refused: str) -> None:
    store = await s3_store(bucket)
    if refused == "GetObject":
        await store.append(unsigned(7))
    bucket.refuses = {refused}
    asked = store.append(unsigned(7)) if refused == "PutObject" else store.held(ORIGIN, 3, 0)
    with pytest.raises(Unavailable, match="SlowDown"):
        await asked
    await store.close()
    with pytest.raises(Unavailable):
        await store.held(ORIGIN, 3, 0)
