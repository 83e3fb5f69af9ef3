"""From botocore's exceptions to the tree of `bfactors.ca`. Source: facts on AWS Private CA, botocore's acm-pca model."""

import socket
from typing import Final

from aiohttp import ClientConnectorError
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from bfactors.ca import (
    AlreadyDone,
    CaError,
    MalformedCsr,
    NotActive,
    NotReady,
    Permanent,
    QuotaExhausted,
    Transient,
)

CREDENTIALS_RETRY_S: Final = 30.0
"""How long to wait when we could not sign a request at all; an operator has to act, or a role to appear."""

CAUGHT: Final = (boto.ClientError, boto.BotoCoreError, boto.HTTPClientError, ResponseParserError)
"""Everything a botocore client raises of itself."""

_THROTTLED = frozenset(
    {
        "ThrottlingException",
        "Throttling",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "RequestThrottled",
    }
)
# The request was refused before it was looked at, because of how it was signed; new credentials or time may help.
_UNSIGNED = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "IncompleteSignature",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "OptInRequired",
    }
)
# Raised before a connection stood. EndpointConnectionError is not among them: aiobotocore also makes one of a
# connection that was reset with the request on it, so its cause decides.
_NEVER_LEFT = (boto.ConnectTimeoutError, boto.ProxyConnectionError, boto.SSLError)
_MESSAGE_CHARS = 300


def ca_error(problem: Exception) -> CaError:
    """The error of ours for one of `CAUGHT`."""
    if isinstance(problem, boto.ClientError):
        return _answered(problem)
    code = type(problem).__name__
    text = str(problem)[:_MESSAGE_CHARS]
    if isinstance(problem, _NEVER_LEFT):
        return Transient(code, text)
    if isinstance(problem, boto.EndpointConnectionError):
        unconnected = isinstance(problem.kwargs.get("error"), ClientConnectorError | socket.gaierror)
        return Transient(code, text, may_have_happened=not unconnected)
    if isinstance(problem, boto.ParamValidationError | boto.ValidationError):
        return Permanent(code, text)
    if isinstance(problem, boto.HTTPClientError | ResponseParserError):
        return Transient(code, text, may_have_happened=True)
    # What is left concerns credentials, regions and endpoints: nothing was sent.
    return Transient(code, text, retry_after_s=CREDENTIALS_RETRY_S)


def _answered(problem: boto.ClientError) -> CaError:
    error = problem.response.get("Error", {})
    code = str(error.get("Code", "Unknown"))
    message = str(error.get("Message", ""))[:_MESSAGE_CHARS]
    status = int(problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if problem.operation_name == "AssumeRole":
        return Transient(code, f"the role could not be assumed: {message}", retry_after_s=CREDENTIALS_RETRY_S)
    if code in _UNSIGNED:
        return Transient(code, message, retry_after_s=CREDENTIALS_RETRY_S)
    if code in _THROTTLED or status == 429:
        return Transient(code, message)
    match code:
        case "RequestInProgressException":
            return NotReady(code, message)
        case "RequestFailedException":
            return Transient(code, message, may_have_happened=True, bounded=True)
        case "ConcurrentModificationException":
            return Transient(code, message)
        case "RequestAlreadyProcessedException":
            return AlreadyDone(code, message)
        case "LimitExceededException":
            return QuotaExhausted(code, message)
        case "InvalidStateException":
            return NotActive(code, message)
        case "MalformedCSRException":
            return MalformedCsr(code, message)
        case "AccessDeniedException" | "AccessDenied":
            return Permanent(code, f"CA policy denied: {message}")
    if status >= 500:
        return Transient(code, message, may_have_happened=True)
    return Permanent(code, message)
