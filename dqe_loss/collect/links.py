"""Each rater's link: a secret of 256 bits, kept in a file that only its owner may read."""

import hmac
import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from dqe_loss.outputs import write_together
from dqe_loss.resume import read_record

LINKS = "links.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")


def check_raters(names: Sequence[str]) -> None:
    """Check the names of raters: they become names of files.

    Raises:
        ValueError: naming the one that will not do.
    """
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"--raters takes names of letters, digits, '-', '_' and '.', got {name!r}")
    folded = [name.lower() for name in names]
    if twice := [name for name in folded if folded.count(name) > 1]:
        raise ValueError(f"--raters names {twice[0]} twice; upper and lower case are the same")


def claim_links(folder: Path, raters: Sequence[str]) -> dict[str, str]:
    """Secrets of all raters; those of new ones are drawn and kept.

    Args:
        folder: of the study.
        raters: names.

    Returns:
        Rater to secret.

    Raises:
        ValueError: the file is damaged.
        OSError: it cannot be written.
    """
    path = folder / LINKS
    cure = "restore it, or delete it to give all raters new links"
    known: dict[str, str] = read_record(path, cure) if path.exists() else {}
    links = known | {name: secrets.token_urlsafe(32) for name in raters if name not in known}
    if links != known:
        before = os.umask(0o077)
        try:
            write_together({path: (json.dumps(links, indent=2) + "\n").encode()}, lasting=True)
        finally:
            os.umask(before)
    return {name: links[name] for name in raters}


def rater_of(secret: str, links: Mapping[str, str]) -> str | None:
    """Whose link it is, or None; takes the same time whatever is wrong with it."""
    given = sha256(secret.encode(errors="replace")).digest()
    found = None
    for rater, known in links.items():
        if hmac.compare_digest(sha256(known.encode()).digest(), given):
            found = rater
    return found
