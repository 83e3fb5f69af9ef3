"""Why an upload is not taken: a status without a body for the charger, a reason for ourselves."""


class UploadRefused(Exception):
    """`reason` is kebab-case and the metric's outcome; the charger is told the status alone.

    `charger_id` is "-" until a ticket told it.
    """

    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers or {}
        self.charger_id = "-"
