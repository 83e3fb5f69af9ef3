"""One request, however often it is sent: the key it is remembered under, and the ids made from it."""

import hashlib
import json
import re
from typing import Any

import msgspec

HEADER = "Idempotency-Key"
HEADER_PATTERN = r"^[\x21-\x7e]{1,200}$"
_KEY = re.compile(HEADER_PATTERN)
_ID_CHARS = 26


class Repetition(msgspec.Struct, frozen=True):
    """`key` is "" for a request that carried none; `request_hash` covers path and body, `seed` makes the ids."""

    key: str
    request_hash: str
    seed: str

    def new_id(self, kind: str) -> str:
        """An id that a repeat of the same request is given again, e.g. `job-4f1c...`."""
        return f"{kind}-{_digest(kind, self.seed)[:_ID_CHARS]}"


def key_problem(key: str | None) -> str | None:
    """Why a header value cannot be used as a key, or None."""
    if key is None or key == "":
        return "every POST needs this header: any text of your own, the same for every repeat of the request"
    if not _KEY.fullmatch(key):
        return "must have 1 to 200 visible ASCII characters"
    return None


def repetition(
    *, token: str, operation: str, key: str, path: str, body: Any, unkeyed_seed: str
) -> Repetition:
    """The key belongs to the token and the route: two clients never meet under the same one."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    request_hash = _digest(path, canonical)
    if not key:
        return Repetition("", request_hash, unkeyed_seed)
    namespaced = _digest(token, operation, key)
    return Repetition(namespaced, request_hash, namespaced)


def _digest(*parts: str) -> str:
    """Lower-hex SHA-256 of texts, each with its length, so that no two lists of texts look alike."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()
