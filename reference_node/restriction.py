"""Restricted DataNets: medical, legal and personal data, and what must be said before they may be used.

Rules decided here. A DataNet that its manifest marks as restricted states what kind it is, under which licence it may
be used and where consent is recorded; without either it is refused by name. It also has a secret salt. In logs and
statements its names, those of its contributors and its documents' ids are replaced by salted hashes, so that the log
shows that somebody was paid and not for what; who holds the salt can open a hash, nobody else can guess it. Addresses
stay as they are: they are paid. Restricted data never enters the plain span index.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

from reference_node.manifest_reader import MISSING, Reader

KINDS = ("medical", "legal", "personal")
STATEMENT_MAX = 500  # characters of licence or consent
_SALT = re.compile(r"[0-9a-f]{32,64}")


@dataclass(frozen=True, slots=True)
class Restriction:
    """What a manifest says of a restricted DataNet.

    Parameters
    ----------
    kind
        One of `KINDS`.
    licence
        Licence or agreement under which the data may be used.
    consent
        Where the consent of those whom the data is about is recorded.
    salt
        Secret, 32 to 64 hexadecimal digits.
    """

    kind: str
    licence: str
    consent: str
    salt: str


def read_restriction(reader: Reader, raw: object, path: str, datanet: str) -> Restriction | None:
    """Read the `restricted` entry of a DataNet; None where there is none.

    Parameters
    ----------
    reader
        Notes what is wrong.
    raw
        The entry.
    path
        Its place in the manifest.
    datanet
        Id of the DataNet, which a refusal names.
    """
    if raw is None or raw is MISSING:
        return None
    fields = reader.mapping(raw, path, required=("kind", "salt"), optional=("licence", "consent"))
    for name in ("licence", "consent"):
        said = fields.get(name, "")
        if not isinstance(said, str) or not said.strip():
            message = f"DataNet {datanet!r} is restricted and states no {name}: it may not be used"
            reader.say(f"{path}.{name}", said, message)
    if fields["kind"] is not MISSING and fields["kind"] not in KINDS:
        reader.say(f"{path}.kind", fields["kind"], f"allowed {', '.join(KINDS)}")
    salt = fields["salt"]
    if salt is not MISSING and not (isinstance(salt, str) and _SALT.fullmatch(salt)):
        reader.say(
            f"{path}.salt", "?", "must be 32 to 64 lower-case hexadecimal digits that nobody else knows"
        )
    licence, consent = (
        reader.text(fields.get(name, ""), f"{path}.{name}", STATEMENT_MAX) for name in ("licence", "consent")
    )
    return Restriction(str(fields["kind"]), licence, consent, str(salt))


def blinded_id(salt: str, kind: str, text: str) -> str:
    """Return what stands for a restricted name in logs: a salted hash, ``blind:`` and 32 hexadecimal digits.

    Parameters
    ----------
    salt
        Secret of the set, hexadecimal; who knows it can show which name is meant, nobody else can guess it.
    kind
        What the text names, so that equal names of different things do not look equal.
    text
        The name.

    Examples
    --------
    >>> blinded_id("00" * 16, "datanet", "oncology")[:12]
    'blind:a0783a'
    """
    data = json.dumps(["olsim blinded", salt, kind, text], separators=(",", ":")).encode()
    return f"blind:{hashlib.sha256(data).hexdigest()[:32]}"
