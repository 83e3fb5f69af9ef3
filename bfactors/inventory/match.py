"""Which certificate of ours a charger's hash data means: indexes over everything it could look like, asked surest first.

Anchors are only ever found by name, key and serial number: two roots may share name and serial number and differ in the key
alone, and taking one for the other would confirm trust in a stranger. Leaves may also be found where a charger hashed the
wrong issuer, because a serial number is unique among its issuer's.
"""

from collections.abc import Iterable, Sequence
from hashlib import new as digest
from typing import Literal, TypeVar

from bfactors.certificate_hash import DIGEST_BYTES, HashData, Reading
from bfactors.der import certificate_fields, key_bits
from bfactors.inventory.held import Held
from bfactors.x509 import Certificate, MalformedX509, issuer_within, parse_certificates

MatchKind = Literal["exact", "format", "spki-hash", "other-issuer", "serial-and-issuer"]
"""Verbatim ours; ours in another notation; over the whole public key; over another of its chain; without the key."""

Key = TypeVar("Key")

_ByIssuer = tuple[str, str, str]
"""Algorithm, issuer name hash, serial number."""


class Matcher:
    """Finds the certificate of ours that hash data means. What only odd chargers need is worked out when one appears."""

    def __init__(self, held: Sequence[Held]) -> None:
        self._held = held
        self._authorities = _Authorities(held)
        self._exact: dict[Reading, list[Held]] = {}
        self._verbatim: set[HashData] = set()
        self._variants: dict[Reading, tuple[MatchKind, list[Held]]] | None = None
        self._by_issuer: dict[_ByIssuer, list[Held]] | None = None
        for one in held:
            data = one.hash_data if one.kind == "anchor" else self._authorities.leaf_hash_data(one)
            self._verbatim.update(data)
            for entry in data:
                _note(self._exact, entry.folded(), one)

    def twins(self) -> dict[str, Held]:
        """Certificates that hash data cannot tell from another of ours, by fingerprint, with the one that is taken instead."""
        found: dict[str, Held] = {}
        for candidates in self._exact.values():
            chosen = _preferred(candidates)
            found |= {one.fingerprint_sha256: chosen for one in candidates if one is not chosen}
        return found

    def find(self, data: HashData, readings: Sequence[Reading]) -> tuple[Held, MatchKind] | None:
        """The certificate meant and how it was recognised; None if it is none of ours, or if it could be several."""
        for reading in readings:
            candidates = self._exact.get(reading)
            if candidates:
                return _preferred(candidates), "exact" if data in self._verbatim else "format"
        variants = self._known_variants()
        for reading in readings:
            variant = variants.get(reading)
            # Those found over the whole public key are alike in all a list tells, as in `twins`; others may be strangers.
            if variant is not None and (variant[0] == "spki-hash" or len(variant[1]) == 1):
                return _preferred(variant[1]), variant[0]
        for reading in readings:
            candidates = self._same_issuer(reading)
            if len(candidates) == 1 and candidates[0].kind == "leaf":
                return candidates[0], "serial-and-issuer"
        return None

    def look_alike(self, reading: Reading) -> Held | None:
        """An anchor of ours with this name and serial number; asked about what is not ours, so its key is another."""
        return next((one for one in self._same_issuer(reading) if one.kind == "anchor"), None)

    def _same_issuer(self, reading: Reading) -> list[Held]:
        if self._by_issuer is None:
            self._by_issuer = {}
            for one in self._held:
                for entry in self._authorities.without_key(one):
                    _note(self._by_issuer, entry, one)
        return self._by_issuer.get((reading[0], reading[1], reading[3]), [])

    def _known_variants(self) -> dict[Reading, tuple[MatchKind, list[Held]]]:
        if self._variants is None:
            self._variants = {}
            for one in self._held:
                for reading, kind in self._authorities.variants(one):
                    _, candidates = self._variants.setdefault(reading, (kind, []))
                    if one not in candidates:
                        candidates.append(one)
        return self._variants

    def issuing_chain(self, leaf: Held) -> frozenset[_ByIssuer]:
        """How the issuers delivered with a leaf are listed, in every algorithm, their issuers' keys left out."""
        return self._authorities.chain_without_keys(leaf)


class _Authorities:
    """Every certificate we hold, read once, so that a leaf's issuer is found even when it came without."""

    def __init__(self, held: Sequence[Held]) -> None:
        self._chains: dict[str, tuple[Certificate, ...]] = {}
        self._anchors = [one for one in held if one.kind == "anchor"]
        self._by_subject: dict[bytes, list[Certificate]] | None = None

    def _chain(self, one: Held) -> tuple[Certificate, ...]:
        if one.fingerprint_sha256 not in self._chains:
            try:
                chain = parse_certificates(one.pem)
            except MalformedX509:
                chain = ()  # recorded before it could be checked: it is shown, and matches nothing
            self._chains[one.fingerprint_sha256] = chain
        return self._chains[one.fingerprint_sha256]

    def _issuers(self, leaf: Held) -> tuple[Certificate, ...]:
        """The leaf's issuers upward, completed by an anchor of ours where one carries the next name."""
        chain = self._chain(leaf)
        if not chain or chain[-1].self_issued:
            return chain[1:]
        if self._by_subject is None:
            self._by_subject = {}
            for one in self._anchors:
                for root in self._chain(one)[:1]:
                    self._by_subject.setdefault(root.subject_der, []).append(root)
        top = issuer_within(chain[-1], self._by_subject.get(chain[-1].issuer_der, ()))
        return chain[1:] if top is None else (*chain[1:], top)

    def leaf_hash_data(self, leaf: Held) -> tuple[HashData, ...]:
        issuers = self._issuers(leaf)
        if not issuers:
            return ()
        certificate = self._chain(leaf)[0]
        key = key_bits(certificate_fields(issuers[0].der).spki)
        return tuple(
            HashData(*_reading(name, certificate.issuer_der, key, certificate.serial_number))
            for name in DIGEST_BYTES
        )

    def variants(self, one: Held) -> Iterable[tuple[Reading, MatchKind]]:
        """What else hash data for this certificate has been seen to be, the rightful form left out."""
        chain = self._chain(one)
        if not chain:
            return
        own = chain[0]
        issuers = (own,) if one.kind == "anchor" else (*self._issuers(one), own)
        spkis = [certificate_fields(issuer.der).spki for issuer in issuers]
        names = dict.fromkeys((own.issuer_der, *(issuer.subject_der for issuer in issuers)))
        for algorithm in DIGEST_BYTES:
            for number, spki in enumerate(spkis):
                for is_whole, key in enumerate((key_bits(spki), spki)):
                    for name in names:
                        is_right = number == 0 and name == own.issuer_der
                        if not (is_right and not is_whole):
                            kind: MatchKind = "spki-hash" if is_right else "other-issuer"
                            yield _reading(algorithm, name, key, own.serial_number), kind

    def without_key(self, one: Held) -> Iterable[_ByIssuer]:
        if one.kind == "anchor" and one.hash_data:
            for data in one.hash_data:
                algorithm, name, _, serial = data.folded()
                yield algorithm, name, serial
        else:
            for certificate in self._chain(one)[:1]:
                yield from _without_key(certificate)

    def chain_without_keys(self, leaf: Held) -> frozenset[_ByIssuer]:
        return frozenset(
            entry for certificate in self._chain(leaf)[1:] for entry in _without_key(certificate)
        )


def _without_key(certificate: Certificate) -> Iterable[_ByIssuer]:
    for algorithm in DIGEST_BYTES:
        name = digest(algorithm, certificate.issuer_der).hexdigest()
        yield algorithm, name, certificate.serial_number


def _reading(algorithm: str, name: bytes, key: bytes, serial_number: str) -> Reading:
    return algorithm, digest(algorithm, name).hexdigest(), digest(algorithm, key).hexdigest(), serial_number


def _note(index: dict[Key, list[Held]], key: Key, one: Held) -> None:
    candidates = index.setdefault(key, [])
    if one not in candidates:
        candidates.append(one)


def _preferred(candidates: Sequence[Held]) -> Held:
    """Of those hash data cannot tell apart: what should be there, before what should not; whatever the order they came in."""
    return min(candidates, key=lambda one: (one.is_retired, not one.is_installed, one.fingerprint_sha256))
