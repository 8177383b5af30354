"""Bootstrap tokens, with which new nodes ask for certificates.

A token ``ID.SECRET`` is kept as the Secret ``kube-system/bootstrap-token-ID``, and stands for the user
``system:bootstrap:ID`` until it expires.
"""

import base64
import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kybern.auth.user import User

NAMESPACE = "kube-system"
TYPE = "bootstrap.kubernetes.io/token"
GROUP = "system:bootstrappers"

_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_EXTRA_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


def secret_name(token: str) -> str:
    """The Secret that would hold a token; "" when the token has another form."""
    match = _TOKEN.fullmatch(token)
    return f"bootstrap-token-{match[1]}" if match else ""


def user_of(token: str, secret: Mapping[str, Any] | None, now: float) -> User | None:
    """The user that a token stands for, given its Secret; None when the Secret does not bear it out."""
    if secret is None or secret.get("type") != TYPE or secret["metadata"].get("deletionTimestamp"):
        return None
    data = secret.get("data") or {}
    identity, _, shared = token.partition(".")
    if _text(data, "token-id") != identity or not hmac.compare_digest(_text(data, "token-secret"), shared):
        return None
    if _expired(_text(data, "expiration"), now) or _text(data, "usage-bootstrap-authentication") != "true":
        return None
    extra = [group.strip() for group in _text(data, "auth-extra-groups").split(",") if group.strip()]
    if not all(_EXTRA_GROUP.fullmatch(group) for group in extra):
        return None
    return User(f"system:bootstrap:{identity}", tuple(dict.fromkeys((*sorted(extra), GROUP))))


def _expired(text: str, now: float) -> bool:
    """A time that cannot be read counts as past, as upstream has it."""
    if not text:
        return False
    try:
        return datetime.fromisoformat(text).timestamp() <= now
    except ValueError:
        return True


def _text(data: Mapping[str, str], key: str) -> str:
    try:
        return base64.b64decode(data.get(key, "")).decode()
    except ValueError:
        return ""
