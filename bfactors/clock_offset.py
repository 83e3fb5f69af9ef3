"""How far a charger's clock is off ours, by what it says of something that has just happened."""

from datetime import UTC, datetime, timedelta

TOLERANCE = timedelta(minutes=5)
"""Beyond that a charger takes good certificates for bad: ours are dated back by an hour, but it may be ahead as well."""


def offset_s(said: datetime, now: datetime) -> int:
    """Seconds the charger is ahead; a time without a zone, which OCPP 1.6 allows, is UTC."""
    there = said if said.tzinfo is not None else said.replace(tzinfo=UTC)
    return round((there - now).total_seconds())


def is_wrong(seconds: int) -> bool:
    """Whether so much is too much."""
    return abs(seconds) > TOLERANCE.total_seconds()
