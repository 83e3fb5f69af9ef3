"""The receiver over HTTP: every request ends in a bare status, one line and one number."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from aiohttp import ClientError, web

from bfactors.ports import Metrics
from gateways.logs.receiver import LogReceiver
from gateways.logs.refused import UploadRefused

_LOG = logging.getLogger(__name__)

# After an answer to an unread body a little of it is still taken: closing at once would reset the connection, and the
# charger might never see the answer.
DRAIN_BYTES = 256 * 1024
DRAIN_S = 1.0
_HEADERS = {"Cache-Control": "no-store", "Server": "logs"}


Serve = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def upload_handler(receiver: LogReceiver, metrics: Metrics) -> Serve:
    """For `web.Server`, below aiohttp's routes: those answer paths they cannot match in words of their own."""

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        begun = time.monotonic()
        who, outcome, size = "-", "shutdown", 0
        try:
            if request.headers.get("Expect", "100-continue").lower() != "100-continue":
                raise UploadRefused(417, "expectation")
            received = await receiver.receive(request)
            who, outcome, size = received.charger_id, "stored", received.size_bytes
            metrics.count("bf_log_upload_bytes", size)
            return await _answered(request, 200, {})
        except UploadRefused as refused:
            who, outcome = refused.charger_id, refused.reason
            return await _answered(request, refused.status, refused.headers)
        except ConnectionError:
            raise  # the charger left before its answer; aiohttp closes what is left
        except Exception:  # noqa: BLE001 - the outermost handler of this edge: a fault must not end the listener
            outcome = "fault"
            _LOG.exception("log upload failed")
            return await _answered(request, 500, {})
        finally:
            metrics.count("bf_log_uploads", outcome=outcome)
            # Without a valid ticket anybody may knock: such lines are for debugging only.
            level = logging.INFO if who != "-" or outcome == "fault" else logging.DEBUG
            _LOG.log(
                level,
                "log upload outcome=%s charger=%s bytes=%d seconds=%.3f remote=%s",
                outcome,
                who,
                size,
                time.monotonic() - begun,
                request.remote,
            )

    return serve


async def _answered(request: web.BaseRequest, status: int, headers: dict[str, str]) -> web.StreamResponse:
    response = web.Response(status=status, headers={**_HEADERS, **headers})
    response.force_close()
    await response.prepare(request)
    await response.write_eof()
    if request.body_exists and not request.content.at_eof():
        await _drain(request)
    return response


async def _drain(request: web.BaseRequest) -> None:
    taken = 0
    try:
        async with asyncio.timeout(DRAIN_S):
            while taken < DRAIN_BYTES and not request.content.at_eof():
                taken += len(await request.content.readany())
    except (TimeoutError, OSError, ClientError, web.RequestPayloadError):
        return
