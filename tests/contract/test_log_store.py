"""One contract, two places: a directory, and a bucket behind real HTTP."""

import hashlib
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bfactors.errors import Unavailable
from bfactors.log_upload import charger_key, stored_name
from bfactors.ports import LogStore
from gateways.logs.directory_store import DirectoryLogStore
from gateways.logs.s3_object import PART_BYTES
from gateways.logs.s3_store import S3LogStore, S3Settings
from tests.fakes.log_bucket import FakeBucket

AT = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
NAME = stored_name("CP-1", AT, "a1")
SMALL = b"one line\n" * 100
LARGE = bytes(range(256)) * (2 * PART_BYTES // 256 + 7)


@pytest.fixture
async def bucket() -> AsyncIterator[FakeBucket]:
    async with FakeBucket().served() as bucket:
        yield bucket


async def s3_store(bucket: FakeBucket) -> S3LogStore:
    store = S3LogStore(
        S3Settings(
            bucket=bucket.name,
            region="eu-central-1",
            prefix="fleet/logs",
            endpoint_url=bucket.url,
            access_key_id="id",
            secret_access_key="secret",
            attempts=1,
        )
    )
    await store.start()
    return store


@pytest.fixture(params=["directory", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LogStore]:
    if request.param == "directory":
        directory = DirectoryLogStore(tmp_path / "logs")
        await directory.start()
        yield directory
        return
    async with FakeBucket().served() as bucket:
        s3 = await s3_store(bucket)
        yield s3
        await s3.close()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def keep(store: LogStore, name: str, content: bytes) -> None:
    writer = await store.begin(name)
    for at in range(0, len(content), 700_001):
        await writer.write(content[at : at + 700_001])
    await writer.finish(sha256(content))


async def read(store: LogStore, name: str) -> tuple[int, str, bytes]:
    opened = await store.open_log(name)
    assert opened is not None
    try:
        content = b"".join([chunk async for chunk in opened.chunks()])
    finally:
        await opened.close()
    return opened.size_bytes, opened.sha256, content


@pytest.mark.parametrize("content", [b"x", SMALL, LARGE], ids=["one byte", "small", "several pieces"])
async def test_a_finished_log_is_read_back_whole_with_its_size_and_digest(
    store: LogStore, content: bytes
) -> None:
    await keep(store, NAME, content)
    assert await read(store, NAME) == (len(content), sha256(content), content)


async def test_what_is_not_finished_is_not_there(store: LogStore) -> None:
    writer = await store.begin(NAME)
    await writer.write(LARGE)
    assert await store.stored() == []
    assert await store.open_log(NAME) is None
    await writer.abandon()
    await writer.abandon()
    assert await store.stored() == []


async def test_abandoning_a_finished_log_takes_nothing_away(store: LogStore) -> None:
    writer = await store.begin(NAME)
    await writer.write(SMALL)
    await writer.finish(sha256(SMALL))
    await writer.abandon()
    assert (await read(store, NAME))[2] == SMALL


async def test_logs_are_listed_in_order_with_charger_time_and_size(store: LogStore) -> None:
    names = sorted(stored_name(f"CP-{n}", AT + timedelta(hours=n), f"id{n}") for n in range(5))
    for n, name in enumerate(names):
        await keep(store, name, b"x" * (n + 1))
    found = await store.stored()
    assert [log.stored_name for log in found] == names
    assert [log.size_bytes for log in found] == [1, 2, 3, 4, 5]
    assert {log.charger_key for log in found} == {charger_key(f"CP-{n}") for n in range(5)}
    assert {log.stored_at for log in found} == {AT + timedelta(hours=n) for n in range(5)}


async def test_only_logs_before_the_given_time_expire(store: LogStore) -> None:
    names = [stored_name("CP-1", AT + timedelta(days=n), f"id{n}") for n in range(4)]
    for name in names:
        await keep(store, name, SMALL)
    gone = await store.expire(AT + timedelta(days=2))
    assert [log.stored_name for log in gone] == names[:2]
    assert [log.stored_name for log in await store.stored()] == names[2:]
    assert await store.open_log(names[0]) is None


async def test_a_deleted_log_is_gone_and_deleting_it_again_says_so(store: LogStore) -> None:
    await keep(store, NAME, SMALL)
    assert await store.delete(NAME)
    assert not await store.delete(NAME)
    assert await store.open_log(NAME) is None


@pytest.mark.parametrize(
    "name", ["", "..", "../x", "/etc/passwd", NAME + "/x", NAME + ".sha256", NAME + "\n", ".part-" + NAME]
)
async def test_no_name_but_a_generated_one_reaches_anything(store: LogStore, name: str) -> None:
    await keep(store, NAME, SMALL)
    assert await store.open_log(name) is None
    assert not await store.delete(name)
    with pytest.raises(ValueError, match="generated name"):
        await store.begin(name)
    assert len(await store.stored()) == 1


# ---------------------------------------------------------------- the directory alone


async def test_a_directory_shows_logs_to_their_owner_only(tmp_path: Path) -> None:
    store = DirectoryLogStore(tmp_path / "logs")
    await store.start()
    writer = await store.begin(NAME)
    part = tmp_path / "logs" / f".part-{NAME}"
    assert stat.S_IMODE(part.stat().st_mode) == 0o600
    await writer.write(SMALL)
    await writer.finish(sha256(SMALL))
    assert stat.S_IMODE((tmp_path / "logs").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "logs").iterdir()} == {0o600}
    line = (tmp_path / "logs" / f"{NAME}.sha256").read_text()
    assert line == f"{sha256(SMALL)}  {NAME}\n"


async def test_what_a_killed_process_left_is_cleared_at_the_next_start(tmp_path: Path) -> None:
    store = DirectoryLogStore(tmp_path)
    await keep(store, NAME, SMALL)
    (tmp_path / f".part-{stored_name('CP-2', AT, 'b')}").write_bytes(b"half")
    (tmp_path / f"{stored_name('CP-2', AT, 'b')}.sha256").write_text("0" * 64)
    (tmp_path / "not-ours.txt").write_text("stays")
    again = DirectoryLogStore(tmp_path)
    await again.start()
    assert names_in(tmp_path) == {NAME, f"{NAME}.sha256", "not-ours.txt"}
    assert (await read(again, NAME))[2] == SMALL


async def test_a_log_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("key")
    store = DirectoryLogStore(tmp_path / "logs")
    await store.start()
    (tmp_path / "logs" / NAME).symlink_to(secret)
    (tmp_path / "logs" / f"{NAME}.sha256").write_text("0" * 64)
    assert await store.stored() == []
    with pytest.raises(Unavailable):
        await store.open_log(NAME)


async def test_a_directory_that_is_gone_is_an_unavailable_store(tmp_path: Path) -> None:
    store = DirectoryLogStore(tmp_path / "never-made")
    for call in (store.begin(NAME), store.stored()):
        with pytest.raises(Unavailable, match="log store"):
            await call


# ---------------------------------------------------------------- the bucket alone


async def test_a_small_log_is_two_objects_and_a_large_one_goes_in_pieces(bucket: FakeBucket) -> None:
    store = await s3_store(bucket)
    await keep(store, NAME, SMALL)
    assert bucket.operations == ["PutObject", "PutObject"]
    assert set(bucket.objects) == {f"fleet/logs/{NAME}", f"fleet/logs/{NAME}.sha256"}
    bucket.operations.clear()
    other = stored_name("CP-1", AT, "a2")
    await keep(store, other, LARGE)
    # The digest before the log becomes visible.
    assert bucket.operations == [
        "CreateMultipartUpload",
        *["UploadPart"] * 3,
        "PutObject",
        "CompleteMultipartUpload",
    ]
    await store.close()


async def test_an_abandoned_large_log_leaves_no_pieces_in_the_bucket(bucket: FakeBucket) -> None:
    store = await s3_store(bucket)
    writer = await store.begin(NAME)
    await writer.write(LARGE)
    assert bucket.uploads
    await writer.abandon()
    assert not bucket.uploads
    assert not bucket.objects
    await store.close()


@pytest.mark.parametrize("refused", ["UploadPart", "CompleteMultipartUpload", "PutObject"])
async def test_a_refusing_bucket_is_an_unavailable_store(bucket: FakeBucket, refused: str) -> None:
    store = await s3_store(bucket)
    bucket.refuses = {refused}
    with pytest.raises(Unavailable, match="SlowDown"):
        await keep(store, NAME, LARGE)
    assert await store.stored() == []
    await store.close()


async def test_a_log_whose_digest_cannot_be_read_is_not_handed_out(bucket: FakeBucket) -> None:
    store = await s3_store(bucket)
    await keep(store, NAME, SMALL)
    bucket.objects[f"fleet/logs/{NAME}.sha256"] = b"<html>"
    with pytest.raises(Unavailable, match="digest"):
        await store.open_log(NAME)
    await store.close()


async def test_a_bucket_that_cannot_be_reached_is_an_unavailable_store() -> None:
    async with FakeBucket().served() as bucket:
        store = await s3_store(bucket)
    for call in (store.stored(), store.open_log(NAME), keep(store, NAME, SMALL)):
        with pytest.raises(Unavailable):
            await call
    await store.close()
