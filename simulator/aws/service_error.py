"""An answer that says no, in AWS's vocabulary."""

#: Codes that AWS answers with another HTTP status than 400.
STATUS_BY_CODE = {
    "InternalFailure": 500,
    "InternalServerError": 500,
    "ServiceUnavailable": 503,
    "NoSuchKey": 404,
    "NoSuchBucket": 404,
}


class ServiceError(Exception):
    """One AWS error: `code` becomes `__type` (JSON 1.1) or `<Code>` (XML). Sent to the caller as it is."""

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = STATUS_BY_CODE.get(code, 400) if status is None else status
