"""The README inside an evidence pack: for somebody who has the archive, a public key, and no reason to trust us."""

from datetime import datetime

from bfactors.audit.checkpoint import Checkpoint

_TEXT = """# Evidence pack of the charger {charger}

What BetterFleet's ledger recorded of this charger up to row {size} of its partition, made {made}. Everything here can
be checked with standard tools and a public key. **Get that key, or its SHA-256 fingerprint, from somebody you trust.**
The keys in `keys/` are there for convenience; whoever forges a pack can put his own there.

| file | what it is |
| --- | --- |
| `pack.json` | what is in this pack |
| `events.jsonl` | the charger's ledger events, one JSON object a line: who did what, when, on which evidence |
| `proofs.jsonl` | for each event, in the same order, the hashes that lead from it to the checkpoint |
| `checkpoint.txt` | the signed checkpoint: one hash that stands for the first {size} rows of partition {partition} |
| `checkpoints.jsonl` | earlier signed checkpoints, each with the proof that the later one only adds rows to it |
| `certificates/` | the charger's certificates and the chains they were issued with, as PEM |
| `keys/` | public keys that signed; the file's name is the SHA-256 of the SubjectPublicKeyInfo |
| `MANIFEST.sha256` | the SHA-256 of every file above |
| `MANIFEST.note` | the signed hash of the manifest |

## With our program

    run.py verify --pack PACK.zip --public-key KEY.pem

## Without it

1. **Nothing was changed**: `sha256sum --check MANIFEST.sha256`

2. **It was signed.** A signed note is a text, an empty line, and a line for each key that signed. The second line of
   `MANIFEST.note` must be what `sha256sum MANIFEST.sha256` says. Do this for `MANIFEST.note` and `checkpoint.txt`:

       F=MANIFEST.note
       awk '/^$/ {{ exit }} {{ print }}' $F > text
       tail -n 1 $F | cut -d ' ' -f 3 | base64 -d | tail -c +5 > signature
       openssl pkeyutl -verify -pubin -inkey KEY.pem -rawin -in text -sigfile signature          # an Ed25519 key
       openssl dgst -sha256 -verify KEY.pem -signature signature text                            # an ECDSA key

   With several keys take the line whose signature, decoded, begins with the key's id. The format is C2SP's `signed-note`.

3. **Each event is what was recorded, and is in the ledger.** With Python 3, in the unpacked archive:

{snippet}

   The hash of an event covers all its fields; a leaf of the tree is SHA-256(0x00 || that hash), an inner node
   SHA-256(0x01 || left || right), as in RFC 6962. The third line of `checkpoint.txt` is the tree's head in base64.

4. **Certificates.** `openssl x509 -in certificates/001-....pem -noout -fingerprint -sha256`; the event
   `CertificateIssued` names the same.

## What this pack cannot show

- That nothing is missing. A proof shows that an event is in the ledger, not that there are no others. To see that,
  verify an export of the whole ledger against the same checkpoint (`run.py verify --export ... --checkpoints ...`).
- What happened in the last minutes: {behind} events of this charger were under no checkpoint when the pack was made,
  and are left out.
- That what a charger or an operator said is true. The ledger shows what was said to it, by whom and when, and what was decided.
"""

SNIPPET = """\
import base64, hashlib, json

sha = lambda data: hashlib.sha256(data).digest()
root = base64.b64decode(open("checkpoint.txt").read().split("\\n")[2])
size = int(open("checkpoint.txt").read().split("\\n")[1])
FIELDS = ("previous_hash partition sequence event schema_version recorded_at actor cause policy_version fleet_sequence "
          "charger_id managed_identity_id purpose variant job_id certificate_id payload").split()

def micros(time):
    from datetime import datetime, timezone
    at = datetime.fromisoformat(time.replace("Z", "+00:00")) - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (at.days * 86400 + at.seconds) * 10**6 + at.microseconds

def row_hash(event):
    parts = []
    for name in FIELDS:
        value = micros(event[name]) if name == "recorded_at" else event[name]
        text = None if value is None else str(value).encode()
        parts.append(b"-" if text is None else str(len(text)).encode() + b":" + text)
    return sha(b"".join(parts))

def head_from(index, path, node):
    last = size - 1
    for other in map(bytes.fromhex, path):
        if index & 1 or index == last:
            node = sha(b"\\1" + other + node)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            node = sha(b"\\1" + node + other)
        index, last = index >> 1, last >> 1
    return node

count = 0
for event, proof in zip(open("events.jsonl"), open("proofs.jsonl")):
    event, proof = json.loads(event), json.loads(proof)
    found = row_hash(event)
    assert found.hex() == event["hash"], event["sequence"]
    assert head_from(event["sequence"] - 1, proof["path"], sha(b"\\0" + found)) == root, event["sequence"]
    count += 1
print(count, "events are under the checkpoint")
"""


def readme(charger_id: str, checkpoint: Checkpoint, made_at: datetime, events_behind: int) -> str:
    """The text for one pack."""
    return _TEXT.format(
        charger=charger_id,
        size=checkpoint.size,
        partition=checkpoint.partition,
        made=f"{made_at:%Y-%m-%d %H:%M} UTC",
        behind=events_behind,
        snippet="\n".join(f"       {line}".rstrip() for line in SNIPPET.splitlines()),
    )
