"""From AWS validity values to the dates of a certificate."""

import calendar
from datetime import UTC, datetime, timedelta

from simulator.aws.request import Validity
from simulator.aws.service_error import ServiceError

#: How far before issuance a certificate starts unless the caller says otherwise. Source: botocore model, ValidityNotBefore.
BACKDATED = timedelta(minutes=60)


def period(
    validity: Validity, not_before: Validity | None, now: datetime, authority_not_after: datetime
) -> tuple[datetime, datetime]:
    """(notBefore, notAfter) in whole seconds; relative validities count from issuance, not from notBefore.

    Raises: ServiceError ValidationException when the period is impossible or outlives the authority.
    """
    issued_at = now.replace(microsecond=0)
    start = issued_at - BACKDATED if not_before is None else _start(not_before)
    end = _end(validity, issued_at)
    if end <= issued_at or end <= start:
        raise ServiceError("ValidationException", "the certificate would not be valid for any time")
    if end > authority_not_after:
        raise ServiceError(
            "ValidationException", "the validity of the certificate exceeds that of the certificate authority"
        )
    return start, end


def months_later(instant: datetime, months: int) -> datetime:
    """The same day of month and time `months` on, or the last day of a shorter month."""
    year, month = divmod(instant.year * 12 + instant.month - 1 + months, 12)
    day = min(instant.day, calendar.monthrange(year, month + 1)[1])
    return instant.replace(year=year, month=month + 1, day=day)


def _start(validity: Validity) -> datetime:
    if validity.type != "ABSOLUTE":
        raise ServiceError("ValidationException", "ValidityNotBefore must be of type ABSOLUTE")
    return _absolute(validity.value)


def _end(validity: Validity, issued_at: datetime) -> datetime:
    try:
        if validity.type == "ABSOLUTE":
            return _absolute(validity.value)
        if validity.type == "END_DATE":
            return _date_digits(str(validity.value))
        if validity.type == "DAYS":
            return issued_at + timedelta(days=validity.value)
        return months_later(issued_at, validity.value * (12 if validity.type == "YEARS" else 1))
    except (ValueError, OverflowError) as error:
        raise ServiceError(
            "ValidationException", "the validity lies beyond any representable date"
        ) from error


def _absolute(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ServiceError("ValidationException", "not a point in time") from error


def _date_digits(digits: str) -> datetime:
    """A GeneralizedTime (14 digits) or UTCTime, which as an integer has lost its leading zeros."""
    if len(digits) == 14:
        return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    if len(digits) > 12:
        raise ServiceError("ValidationException", "END_DATE is YYMMDDHHMMSS or YYYYMMDDHHMMSS")
    two_digit = digits.zfill(12)
    century = "19" if int(two_digit[:2]) >= 50 else "20"
    return datetime.strptime(century + two_digit, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
