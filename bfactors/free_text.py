"""Words that others write, without what says whose car it is.

A charger may put anything into a security event or an error, and people anything into a reason; both end in the ledger,
which forgets nothing. What looks like a VIN or an EMAID, and whatever follows a label such as `VIN:`, is taken out before it
is recorded. Nobody can tell for certain: a serial number with a VIN's form goes too, a PCID without its label stays.
"""

import re

TAKEN_OUT = "[personal identifier]"
_LABELLED = re.compile(
    r"(?<![A-Za-z0-9])(?P<label>vin|emaid|contract[ _-]?id|pcid|evcc[ _-]?id|vehicle[ _-]?id)"
    r"(?P<between>[\"']?\s{0,4}[:=#]\s{0,4}[\"']?)(?P<value>[A-Za-z0-9*.\-]{6,40})",
    re.IGNORECASE | re.ASCII,
)
_BEFORE, _AFTER = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"
_VIN = rf"{_BEFORE}(?=[0-9A-F]*[GHJ-NPR-Z])[A-HJ-NPR-Z0-9]{{13}}[0-9]{{4}}{_AFTER}"
"""The last four of a VIN are digits (ISO 3779). What could be a number in hex is left alone."""
_EMAID_PLAIN = rf"{_BEFORE}(?=[A-Z]*[0-9])[A-Z]{{2}}[A-Z0-9]{{3}}C[A-Z0-9]{{8}}[A-Z0-9]?{_AFTER}"
_EMAID_PARTED = rf"{_BEFORE}[A-Z]{{2}}([-*])[A-Z0-9]{{3}}\1C?[A-Z0-9]{{6,9}}(?:\1[A-Z0-9])?{_AFTER}"
_LOOKS_LIKE = re.compile("|".join((_VIN, _EMAID_PLAIN, _EMAID_PARTED)), re.IGNORECASE | re.ASCII)


def without_identifiers(text: str) -> str:
    """The text with personal identifiers replaced; the same text if there are none."""
    text = _LABELLED.sub(lambda found: f"{found['label']}{found['between']}{TAKEN_OUT}", text)
    return _LOOKS_LIKE.sub(TAKEN_OUT, text)


def has_identifier(text: str) -> bool:
    """Whether something in the text looks like one."""
    return _LABELLED.search(text) is not None or _LOOKS_LIKE.search(text) is not None
