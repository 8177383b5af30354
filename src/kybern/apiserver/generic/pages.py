"""Where the next page of a list begins: the continue token, which upstream's servers understand, too.

A token names the revision that all pages show, and the key to go on from, relative to the list. A negative revision stands
for the present: a client whose revision has been forgotten is offered such a token, and may go on with what is there now.
"""

import base64
import re

import msgspec

from kybern.machinery import codec
from kybern.machinery.errors import BadRequest, Expired

PRESENT = -1
_VERSION = "meta.k8s.io/v1"
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9_-]")
_TOO_OLD = "The resourceVersion for the provided list is too old."
_INCONSISTENT = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


class Token(msgspec.Struct):
    v: str = ""
    rv: int = 0
    start: str = ""


def encode(revision: int, start: str) -> str:
    found = msgspec.json.encode(Token(_VERSION, revision, start))
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode()


def decode(text: str) -> Token:
    """Raises BadRequest in upstream's words."""
    data = _plain(text)
    try:
        found = msgspec.json.decode(data, type=Token)
    except msgspec.DecodeError as error:
        raise _invalid(f": {_json_says(data, error)}") from None
    if found.v != _VERSION:
        raise _invalid(f": server does not recognize this encoded version {found.v}")
    if not found.rv:
        raise _invalid(f": incorrect encoded start resourceVersion (version {_VERSION})")
    if not found.start:
        raise _invalid(f": encoded start key empty (version {_VERSION})")
    if any(part in ("", ".", "..") for part in found.start.removeprefix("/").split("/")):
        raise _invalid(f": {found.start}")
    return Token(found.v, found.rv, found.start.removeprefix("/"))


def _plain(text: str) -> bytes:
    """The bytes behind base64 without padding. Go tells where it met something else."""
    bad = _NOT_BASE64.search(text)
    if bad or len(text) % 4 == 1:
        at = bad.start() if bad else len(text) - 1
        raise _invalid(f": illegal base64 data at input byte {at}")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _json_says(data: bytes, error: msgspec.DecodeError) -> str:
    try:
        codec.decode_json(data)
    except BadRequest as problem:
        return problem.message
    return str(error)


def _invalid(why: str) -> BadRequest:
    return BadRequest(f"invalid continue token: continue key is not valid{why}")


def forgotten(start: str) -> Expired:
    """The answer when the store has forgotten the revision; ``start`` is where the page begins, empty for the first."""
    if not start:
        return Expired(_TOO_OLD)
    return Expired(_INCONSISTENT, continued=encode(PRESENT, start))
