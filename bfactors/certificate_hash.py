"""A certificate as OCPP names it: the hash data of GetInstalledCertificateIds and DeleteCertificate.

What a charger reported is kept verbatim, because a deletion must echo it, algorithm included (M04.FR.07); what is compared
are its *readings*. Chargers write hashes in either case, with `0x` or colons, without leading zeros, or in base64, and serial
numbers in decimal. Source: OCPP 2.0.1 part 2 section 2.6, RFC 6960 CertID.
"""

import base64
import binascii
import re

import msgspec

Reading = tuple[str, str, str, str]
"""Algorithm, issuer name hash, issuer key hash, serial number in one form for all: lower-case hex, the serial number
without leading zeros."""

DIGEST_BYTES = {"SHA256": 32, "SHA384": 48, "SHA512": 64}
"""Length of each hash by the name of its algorithm."""

_SURELY_DECIMAL_DIGITS = 12
"""So many digits and no letter: hex by a chance of 0.4 %, and then another certificate would need this very number."""

_LOST_ZEROS = 8
"""How many leading zeros of a hash may be missing before it is taken for something else."""

_SEPARATORS = re.compile(r"[\s:]+")
_HEX = re.compile(r"[0-9a-f]+")


class HashData(msgspec.Struct, frozen=True):
    """One certificate's OCPP hash data, verbatim as the charger or we computed it.

    `algorithm` is SHA256, SHA384 or SHA512; what the three others may look like is `readings`' concern.
    """

    algorithm: str
    issuer_name_hash: str
    issuer_key_hash: str
    serial_number: str

    def folded(self) -> Reading:
        """The form two hash data are compared in: the likeliest of `readings`."""
        return self.readings()[0]

    def readings(self) -> tuple[Reading, ...]:
        """What it may mean, likeliest first: one form, or two if its serial number could be hex or decimal.

        A serial number next to hexadecimal hashes is hex, and decimal only if it is long: a short one would name another
        certificate of the same issuer. Next to base64 hashes digits alone are decimal.
        """
        algorithm = self.algorithm.upper().replace("-", "")
        size = DIGEST_BYTES.get(algorithm, 0)
        name, name_is_hex = _hash(self.issuer_name_hash, size)
        key, key_is_hex = _hash(self.issuer_key_hash, size)
        written = serial = self.serial_number.lower()
        if not _HEX.fullmatch(written):
            written = _SEPARATORS.sub("", written)
            serial = written.removeprefix("0x")
        as_hex = (algorithm, name, key, serial.lstrip("0") or "0")
        if written != serial or not (serial.isascii() and serial.isdigit()):
            return (as_hex,)
        as_decimal = (algorithm, name, key, f"{int(serial[:200]):x}")
        if not (name_is_hex and key_is_hex):
            return (as_decimal, as_hex)
        if len(serial.lstrip("0")) >= _SURELY_DECIMAL_DIGITS:
            return (as_hex, as_decimal)
        return (as_hex,)


def _hash(text: str, size: int) -> tuple[str, bool]:
    """A hash in lower-case hex, and whether it was written in hex; what is neither hex nor base64 stays as it is."""
    digits = text.lower()
    if len(digits) == 2 * size and _HEX.fullmatch(digits):
        return digits, True
    packed = _SEPARATORS.sub("", text)
    digits = packed.lower().removeprefix("0x")
    if not size:
        return digits, True
    if 2 * size - _LOST_ZEROS <= len(digits) <= 2 * size and _HEX.fullmatch(digits):
        return digits.zfill(2 * size), True
    standard = packed.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        raw = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        return digits, True
    return (raw.hex(), False) if len(raw) == size else (digits, True)


class ReportedCertificate(msgspec.Struct, frozen=True):
    """One entry of a charger's own list: `use` is OCPP's GetCertificateIdUse as the dialect names it."""

    use: str
    hash_data: HashData
    child_hash_data: tuple[HashData, ...] = ()
